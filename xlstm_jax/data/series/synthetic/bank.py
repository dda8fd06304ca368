"""A bank of synthetic series, drawn once and kept in the cache folder."""

import hashlib
import inspect
import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from rich.console import Console

from xlstm_jax.console import plain_console
from xlstm_jax.data.batches import generator
from xlstm_jax.data.download import cache_dir
from xlstm_jax.data.series.synthetic import kernel_synth, processes, seasons
from xlstm_jax.errors import one_line
from xlstm_jax.files import replacing

# What draws series, and how often.
KINDS: dict[Callable[[np.random.Generator, int], np.ndarray], float] = {
    kernel_synth.kernel_synth: 0.25,
    seasons.seasonal: 0.25,
    processes.smoothing: 0.1,
    processes.arma: 0.08,
    processes.random_walk: 0.08,
    processes.episodes: 0.06,
    processes.heavy: 0.06,
    processes.waves: 0.05,
    processes.switching: 0.04,
    processes.counts: 0.03,
}
QUIET_SECONDS = 10.0  # between progress lines if the output is not a terminal
LARGEST = 50.0  # of a standardised value


def draw(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T] float32: one series of a random kind, standardised."""
    kinds, shares = list(KINDS), np.array(list(KINDS.values()))
    while True:
        values_T = kinds[rng.choice(len(kinds), p=shares / shares.sum())](rng, steps)
        spread = values_T.std()
        if np.isfinite(spread) and spread > 1e-8:
            standard_T = (values_T - values_T.mean()) / spread
            return np.clip(standard_T, -LARGEST, LARGEST).astype(np.float32)
