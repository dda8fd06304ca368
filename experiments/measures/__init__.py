"""Measures of trained runs, for `experiments.measure`. Each file in this folder is one measure."""
