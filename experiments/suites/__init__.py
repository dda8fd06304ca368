"""Suites for `experiments.bench`. Each file in this folder registers one suite, and is found automatically."""
