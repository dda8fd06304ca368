"""The number of weights of each cell, from the formulas in the papers."""

import jax
import pytest

from xlstm_jax.cells import CELLS

X, H = 5, 6  # number of inputs and features
LSTM, BIASES = 4 * (H * (X + H) + H), 4 * H
C = 10  # cells of the projected LSTM
K, FILTER, MAP = 3, 3 * 3, 4 * 2  # kernel taps along one axis and in total, and positions of the map
CONVLSTM = 4 * (FILTER * H * (X + H) + H)
HEADS, ARITY = 2, 3
V = 4  # variables of the GRU-D

SIZES = [
    ("rnn", {}, H * (X + H) + H),
    ("rnn", {"bias": False}, H * (X + H)),
    ("lstm", {}, LSTM),
    ("lstm", {"bias": False}, LSTM - BIASES),
    ("lstm_1997", {}, LSTM * 3 // 4),
    ("lstm_peephole", {}, LSTM + 3 * H),
    ("lstm_nig", {}, LSTM * 3 // 4 + 2 * H),
    ("lstm_nfg", {}, LSTM * 3 // 4 + 2 * H),
    ("lstm_nog", {}, LSTM * 3 // 4 + 2 * H),
    ("lstm_niaf", {}, LSTM + 3 * H),
    ("lstm_noaf", {}, LSTM + 3 * H),
    ("lstm_cifg", {}, LSTM * 3 // 4 + 2 * H),
    ("lstm_fgr", {}, LSTM + 3 * H + 9 * H * H),
    # One gain per pre-activation for each of the two products; gain and bias per cell. The products share their biases.
    ("lstm_ln", {}, LSTM + 2 * 4 * H + 2 * H),
    ("lstm_ln", {"bias": False}, LSTM - BIASES + 2 * 4 * H + H),
    ("lstm_projected", {}, 4 * (4 * H * (X + H) + 4 * H) + 4 * H * H),  # four times as many cells as features
    ("lstm_projected", {"cell_features": C}, 4 * (C * (X + H) + C) + C * H),
    ("lstm_projected", {"cell_features": C, "bias": False}, 4 * C * (X + H) + C * H),
    ("gru", {}, LSTM * 3 // 4),
    ("gru", {"reset": "before"}, LSTM * 3 // 4),
    ("gru", {"recurrent_bias": True}, LSTM * 3 // 4 + H),
    ("mgu", {}, LSTM // 2),
    ("mgu", {"bias": False}, LSTM // 2 - 2 * H),
    # A GRU whose gates also see the mask of V variables, and a rate of decay per variable and per feature.
    ("grud", {"in_features": 3 * V}, 3 * (H * (2 * V + H) + H) + 2 * V + H * V + H),
    ("grud", {"in_features": 3 * V, "bias": False}, 3 * H * (2 * V + H) + V + H * V),
    ("minlstm", {}, 3 * (H * X + H)),
    ("minlstm", {"bias": False}, 3 * H * X),
    ("mingru", {}, 2 * (H * X + H)),
    ("rglru", {"in_features": H, "num_heads": HEADS}, 2 * (H * H // HEADS + H) + H),
    ("convlstm", {"spatial_shape": (4, 2), "kernel_size": K}, CONVLSTM),
    ("convlstm", {"spatial_shape": (4, 2), "kernel_size": K, "peepholes": True}, CONVLSTM + 3 * MAP * H),
    ("convlstm", {"spatial_shape": (4, 2), "kernel_size": K, "bias": False}, CONVLSTM - BIASES),
    ("convlstm", {"spatial_shape": (8,), "kernel_size": K}, 4 * (K * H * (X + H) + H)),
    ("slstm", {"num_heads": HEADS}, LSTM - 4 * H * H + 4 * H * H // HEADS),  # recurrence within heads only
    ("mlstm", {"num_heads": HEADS}, 4 * (H * X + H) + 2 * HEADS * (X + 1)),
    ("treelstm_childsum", {}, LSTM),
    ("treelstm_childsum", {"bias": False}, LSTM - BIASES),
    # From each child to i, u, o, and to the forget gate of each child.
    ("treelstm_nary", {"arity": ARITY}, 4 * (H * X + H) + 3 * ARITY * H * H + ARITY * ARITY * H * H),
    ("treelstm_nary", {"arity": 1}, LSTM),
    ("treelstm_nary", {"arity": 1, "bias": False}, LSTM - BIASES),
    ("rntn", {"arity": ARITY}, H * X + H + ARITY * H * H + ARITY * ARITY * H * H * H),
    ("rntn", {"arity": 1, "bias": False}, H * X + H * H + H * H * H),
]


def label(case) -> str:
    name, options, _ = case
    return "-".join([name, *(f"{key}={value}" for key, value in options.items())])


@pytest.mark.parametrize("case", SIZES, ids=label)
def test_number_of_weights(case):
    name, options, size = case
    cell = CELLS.get(name)
    config = cell.Config(**{"in_features": X, "features": H, **options})
    params = jax.eval_shape(lambda: cell.init(jax.random.key(0), config))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == size


def test_every_cell_is_counted():
    assert {CELLS.get(name) for name, _, _ in SIZES} == {CELLS.get(name) for name in CELLS.names()}
