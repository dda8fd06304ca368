"""Measure the intervals between nearly evenly spaced spikes (Gers, Schraudolph & Schmidhuber 2002, task MSD)."""

import dataclasses

import numpy as np

from xlstm_jax.data.problems.base import Rows, empty_rows


@dataclasses.dataclass(frozen=True)
class SpikeDelays:
    """Rows of ones (spikes) among zeros. Spike n is `interval` + I(n) steps after the previous spike.

    I(n) is uniform in 0 to `offsets` and is the target at spike n; other steps have no target. The first spike is
    `interval` + I(0) steps after the row's first step.
    """

    interval: int
    offsets: int
    length: int

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        offset_BN = rng.integers(0, self.offsets + 1, (count, self.length // self.interval))
        at_BN = np.cumsum(self.interval + offset_BN, axis=1)
        row_N, spike_N = np.nonzero(at_BN < self.length)
        at_N = at_BN[row_N, spike_N]
        batch = empty_rows(count, self.length)
        batch.inputs_BT[row_N, at_N], batch.targets_BT[row_N, at_N] = 1, offset_BN[row_N, spike_N]
        batch.mask_BT[row_N, at_N] = True
        return batch
