"""Pieces of series."""

import numpy as np

from xlstm_jax.data.series.pieces import Pieces, scored_once

SERIES = np.arange(4 * 30, dtype=np.float32).reshape(4, 30, 1)


def test_pieces_are_cut_from_the_series():
    """At all places evenly, with the next step as the target, and without it in the warm-up."""
    pieces = Pieces(SERIES[:, :-1], SERIES[:, 1:], length=10, warm_up=3)
    rows = pieces.rows(np.random.default_rng(0), 4000)
    assert rows.inputs_BT.shape == (4000, 10, 1) and rows.inputs_BT.dtype == np.float32
    assert (np.diff(rows.inputs_BT, axis=1) == 1).all()
    np.testing.assert_array_equal(rows.targets_BT, rows.inputs_BT + 1)
    np.testing.assert_array_equal(rows.mask_BT, np.tile(np.arange(10) >= 3, (4000, 1)))
    number_B, start_B = np.divmod(rows.inputs_BT[:, 0, 0].astype(int), 30)
    counts = np.bincount(number_B * 20 + start_B, minlength=80)
    assert len(counts) == 80 and counts.min() > 25 and counts.max() < 80  # 50 expected, standard deviation 7


def test_noise_is_on_the_inputs_alone():
    clean, noisy = (
        Pieces(SERIES[:, :-1], SERIES[:, 1:], length=10, warm_up=3, noise=noise).rows(np.random.default_rng(0), 500)
        for noise in (0.0, 0.1)
    )
    np.testing.assert_array_equal(clean.targets_BT, noisy.targets_BT)
    added = noisy.inputs_BT - clean.inputs_BT
    assert abs(added.std() - 0.1) < 0.005 and abs(added.mean()) < 0.005 and noisy.inputs_BT.dtype == np.float32


def test_each_step_is_scored_once():
    """In order, each at the end of a row with the steps before it; the last row has what is left over."""
    step_S1 = np.arange(40, dtype=np.float32)[:, None]
    rows = scored_once(step_S1, step_S1 + 100, slice(13, 36), length=12, scored=5).all
    assert rows.inputs_BT.shape == (5, 12, 1) and (np.diff(rows.inputs_BT, axis=1) == 1).all()
    np.testing.assert_array_equal(rows.targets_BT, rows.inputs_BT + 100)
    assert rows.inputs_BT[..., 0][rows.mask_BT].tolist() == [*range(13, 36)]
    assert rows.mask_BT.sum(axis=1).tolist() == [5, 5, 5, 5, 3] and rows.mask_BT[:, -1].all()
