"""SCAN: exact matches by hand."""

import numpy as np

from tests.mirror import needs_mirror
from xlstm_jax.tasks.scan import Scan, ScanConfig


@needs_mirror("scan/")
def test_exact_matches_by_hand():
    """All actions and the end have to be there; rows that only fill up a batch do not count."""
    task = Scan(ScanConfig(split="length", batch_size=8))
    *_, batch = task.batches("validation")
    count = int((batch.lengths_B > 0).sum())
    assert 0 < count < 8
    right = {"tokens": np.pad(batch.target_BT, ((0, 0), (0, 3)))}
    assert task.judge(right, batch)["accuracy"] == (count, count)
    without_end = np.where(batch.target_BT == task.codec.end, 0, batch.target_BT)
    assert task.judge({"tokens": without_end}, batch)["accuracy"] == (0, count)
    one = right["tokens"].copy()
    one[0, 0] += 1
    assert task.judge({"tokens": one[:, : batch.target_BT.shape[1]]}, batch)["accuracy"] == (count - 1, count)
    assert task.codec.decode_target(batch.target_BT[0]).startswith("I_")
