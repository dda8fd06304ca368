"""Random-access sources of batches, and the iterator over them.

Batch b is a pure function of (data, settings, b): an iterator's whole state is its index, resuming is exact, and every
process reads its rows of the same global batch, however many processes there are.
"""

from typing import Any

import grain
import numpy as np

from xlstm_jax.errors import UsageError

# Training has no end of its own; at a thousand steps a second this lasts 24 days.
ENDLESS = 2**31 - 1
ALL_ROWS = slice(None)


def generator(seed: int, index: int) -> np.random.Generator:
    """Random numbers that are a function of both."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)))


def dataset(batches: Any) -> grain.IterDataset:
    """A random-access source of batches, in order.

    Its iterator's `get_state()` is a JSON-able dict, and `set_state()` resumes exactly.
    """
    # A batch is one read from memory, so that grain's reading threads would only cost time.
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    return grain.MapDataset.source(batches).to_iter_dataset(options)


def checked_seed(seed: int) -> int:
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed} is outside 0 to 2**63 - 1; give one inside")
    return seed
