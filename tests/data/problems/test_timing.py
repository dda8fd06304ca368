"""Checks spikes by reading rows step by step with a clock."""

import collections

import numpy as np
import pytest

from xlstm_jax.data.problems.timing import SpikeDelays


@pytest.mark.parametrize("interval, offsets, length", [(49, 1, 256), (3, 4, 50), (1, 1, 2)])
def test_targets_are_the_steps_between_spikes(interval, offsets, length):
    batch = SpikeDelays(interval, offsets, length).rows(np.random.default_rng(0), 400)
    assert batch.inputs_BT.shape == (400, length) and set(np.unique(batch.inputs_BT)) == {0, 1}
    assert batch.lengths_B is None
    seen = collections.Counter()
    for row in range(400):
        clock = 0
        for step in range(length):
            if batch.inputs_BT[row, step]:
                assert batch.mask_BT[row, step] and batch.targets_BT[row, step] == clock - interval
                seen[clock - interval] += 1
                clock = 0
            else:
                assert not batch.mask_BT[row, step] and batch.targets_BT[row, step] == 0
            clock += 1
        assert clock <= interval + offsets  # no spike is missing at the row's end
    assert set(seen) <= set(range(offsets + 1))
    if length > 2:
        mean = sum(seen.values()) / (offsets + 1)
        assert all(abs(seen[offset] - mean) < 0.15 * mean for offset in range(offsets + 1))
