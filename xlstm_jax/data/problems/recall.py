"""Multi-query associative recall: pairs of key and value, then each key again, to be answered by its value.

Arora et al. 2023, "Zoology" (arXiv 2312.04927). The xLSTM paper (arXiv 2405.04517, section 4.1) uses it with contexts
of up to 2,048 steps.
"""

import dataclasses

import numpy as np

from xlstm_jax.data.problems.base import Rows, empty_rows


@dataclasses.dataclass(frozen=True)
class Recall:
    """Rows of P pairs and P queries.

    Keys are the first half of the vocabulary except 0, which fills all other steps. Values are the second half. A row
    begins with P distinct keys, each followed by a uniformly drawn value: 2 P steps. The remaining steps form slots of
    two steps, numbered x = 1, 2, ... Each key is repeated at the first step of one slot, where its value is the target;
    the second step reads 0. The keys draw their slots one after another without replacement, with weights x^(a - 1).

    Args:
        length: T, at least 4 P.
        pairs: P, fewer than half the vocabulary.
        vocab_size: even.
        power: a > 0; 1 is uniform, and smaller values place most queries early.
    """

    length: int
    pairs: int
    vocab_size: int
    power: float

    @property
    def slots(self) -> int:
        return (self.length - 2 * self.pairs) // 2

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        values = self.vocab_size // 2  # both the first value and the number of values
        keys_BP = 1 + _drawn(rng, np.zeros(values - 1), count, self.pairs)
        values_BP = rng.integers(values, 2 * values, (count, self.pairs))
        log_weights = (self.power - 1) * np.log(np.arange(1, self.slots + 1))
        query_BP = 2 * (self.pairs + _drawn(rng, log_weights, count, self.pairs))
        batch = empty_rows(count, self.length)
        batch.inputs_BT[:, 0 : 2 * self.pairs : 2] = keys_BP
        batch.inputs_BT[:, 1 : 2 * self.pairs : 2] = values_BP
        np.put_along_axis(batch.inputs_BT, query_BP, keys_BP, axis=1)
        np.put_along_axis(batch.targets_BT, query_BP, values_BP, axis=1)
        np.put_along_axis(batch.mask_BT, query_BP, True, axis=1)
        return batch


def _drawn(rng: np.random.Generator, log_weights: np.ndarray, rows: int, count: int) -> np.ndarray:
    """Draws indices [rows, count] into `log_weights` by weight, in order, without replacement."""
    # Of exponential waiting times with rates w, number i ends first with probability w_i / sum w. Waiting times are
    # memoryless, so the same holds among the rest. Logarithms avoid overflow for large weights.
    waiting = np.log(rng.standard_exponential((rows, len(log_weights)))) - log_weights
    first = np.argpartition(waiting, count - 1, axis=1)[:, :count]
    order = np.argsort(np.take_along_axis(waiting, first, axis=1), axis=1)
    return np.take_along_axis(first, order, axis=1)
