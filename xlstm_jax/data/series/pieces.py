"""Pieces of series: random ones for training, and those that score each step once."""

import numpy as np

from xlstm_jax.data.problems.base import FixedRows, Rows


def drawn(rng: np.random.Generator, count: int, length: int, *arrays_NS: np.ndarray) -> tuple[np.ndarray, ...]:
    """Pieces [B, length, ...] at the same random places of each array [N, S, ...]: N series of S steps."""
    series, steps = arrays_NS[0].shape[:2]
    series_B1 = rng.integers(series, size=count)[:, None]
    steps_BT = rng.integers(steps - length + 1, size=count)[:, None] + np.arange(length)
    return tuple(array[series_B1, steps_BT] for array in arrays_NS)


class Pieces:
    """A problem (`data.problems.base.Problem`): random pieces of N series of S steps, with a target at each step.

    Args:
        inputs_NSF: float32.
        targets_NS: [N, S, ...], float32.
        length: T, steps of a piece, at most S.
        warm_up: the targets of a piece's first steps do not count: too little was read before them.
        noise: standard deviation of what is added to the inputs.
    """

    def __init__(
        self, inputs_NSF: np.ndarray, targets_NS: np.ndarray, *, length: int, warm_up: int, noise: float = 0.0
    ):
        self._inputs_NSF, self._targets_NS = inputs_NSF, targets_NS
        self.length, self._warm_up, self._noise = length, warm_up, noise

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        inputs_BTF, targets_BT = drawn(rng, count, self.length, self._inputs_NSF, self._targets_NS)
        if self._noise:
            inputs_BTF = inputs_BTF + np.float32(self._noise) * rng.standard_normal(inputs_BTF.shape, np.float32)
        mask_BT = np.broadcast_to(np.arange(self.length) >= self._warm_up, (count, self.length))
        return Rows(inputs_BTF, targets_BT, mask_BT)


def scored_once(inputs_SF: np.ndarray, targets_S: np.ndarray, part: slice, *, length: int, scored: int) -> FixedRows:
    """Rows that score each step of a part once, the last steps of a row, and read the steps before it.

    Args:
        inputs_SF: of one series of S steps, float32.
        targets_S: [S, ...], float32.
        part: the steps to score, of which none is among the first `length`.
        length: T, steps of a row.
        scored: steps of a row that count, at most T; fewer in the last row, if they are left over.
    """
    ends_R = np.minimum(np.arange(part.start + scored, part.stop + scored, scored), part.stop)
    steps_RT = ends_R[:, None] - length + np.arange(length)
    first_R1 = part.start + scored * np.arange(len(ends_R))[:, None]
    return FixedRows(Rows(inputs_SF[steps_RT], targets_S[steps_RT], steps_RT >= first_R1))
