"""Sweeps for `experiments.sweep`. Each file in this folder is one sweep; `FILE:VARIANT` selects a variant."""
