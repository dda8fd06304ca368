"""Random-access sources of batches, and the iterator over them.

Batch b is a pure function of (data, settings, b). An iterator's whole state is its index, so resuming is exact. Every
process reads its rows of the same global batch, for any number of processes.
"""

from typing import Any

import grain
import numpy as np

from xlstm_jax.errors import UsageError

# Length of endless sources: 24 days at a thousand steps per second.
ENDLESS = 2**31 - 1
ALL_ROWS = slice(None)


def generator(seed: int, index: int) -> np.random.Generator:
    """A random generator determined by both arguments."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)))


def dataset(batches: Any) -> grain.IterDataset:
    """Wraps a random-access source of batches; iterates in order.

    The iterator's `get_state()` returns a JSON-serializable dict; `set_state()` resumes exactly.
    """
    # A batch is a single read from memory, so grain's reading threads would only add overhead.
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    return grain.MapDataset.source(batches).to_iter_dataset(options)


def checked_seed(seed: int) -> int:
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed} is not allowed; must be 0 to 2**63 - 1")
    return seed
