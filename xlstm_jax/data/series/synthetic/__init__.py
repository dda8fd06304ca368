"""Synthetic series to train forecasters on: Gaussian processes, seasons, classical processes, and what befalls them."""
