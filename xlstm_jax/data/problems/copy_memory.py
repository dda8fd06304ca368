"""Copy a string after a delay: Arjovsky et al. 2016 (arXiv 1511.06464, section 4.1), based on Hochreiter &
Schmidhuber 1997."""

import dataclasses

import numpy as np

from xlstm_jax.data.problems.base import Rows, empty_rows

BLANK, FIRST, SYMBOLS, GO = 0, 1, 8, 9  # tokens 1 to 8 are the symbols
VOCAB_SIZE = 10
COPIED = 10  # symbols to copy in each row


@dataclasses.dataclass(frozen=True)
class CopyMemory:
    """Rows of 10 symbols drawn from 8, lag - 1 blanks, a go mark, and 10 blanks, at which the symbols are the targets.

    Args:
        length: lag + 20 steps; lag is the paper's T, at least 1.
    """

    length: int

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        symbols_BS = rng.integers(FIRST, FIRST + SYMBOLS, (count, COPIED))
        batch = empty_rows(count, self.length)
        batch.inputs_BT[:, :COPIED] = batch.targets_BT[:, -COPIED:] = symbols_BS
        batch.inputs_BT[:, -COPIED - 1] = GO
        batch.mask_BT[:, -COPIED:] = True
        return batch
