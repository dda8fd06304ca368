"""Every public op over a sequence with small valid arguments, for tests of errors and of empty inputs."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.cells import CELLS
from xlstm_jax.cells.lstm import LSTMCarry
from xlstm_jax.ops.attention import KVCache, attention
from xlstm_jax.ops.conv import causal_conv
from xlstm_jax.ops.linear_attention import gated_linear_attention, retention, ssd
from xlstm_jax.ops.mlstm import MLSTMState, mlstm
from xlstm_jax.ops.recurrence import newton_recurrence, recurrence
from xlstm_jax.ops.rwkv import rwkv6
from xlstm_jax.ops.slstm import SLSTMState, slstm

SIZES = {"B": 2, "T": 5, "H": 2, "K": 4, "V": 6, "G": 4, "D": 3, "W": 3, "P": 6, "N": 4}


def normal(letters: str, **sizes: int) -> np.ndarray:
    shape = [(SIZES | sizes)[letter] for letter in letters]
    return np.random.default_rng(len(letters)).standard_normal(shape).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Op:
    """`function(**arrays, **{start: state}, reset_BT=, lengths_B=, **options)` returns outputs, then the state."""

    name: str  # start of its messages
    function: Callable
    arrays: dict[str, np.ndarray]  # by argument; names end in the axes' letters
    start: str  # the argument that takes the state
    state: Any
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def __repr__(self) -> str:
        return self.name.replace(" ", "_")

    @property
    def given(self) -> dict[str, Any]:
        """All arrays of the op."""
        reset, lengths = np.zeros((2, 5), bool), np.array([5, 3], np.int32)
        return {**self.arrays, self.start: self.state, "reset_BT": reset, "lengths_B": lengths}

    def empty(self, batch: int, time: int) -> dict[str, Any]:
        """The op's arrays cut to `batch` rows and `time` steps; the state cut to `batch` rows."""

        def cut(name: str, a: Any) -> Any:
            if name == self.start:
                return jax.tree.map(lambda leaf: leaf[:batch], a)
            letters = name.rsplit("_", 1)[1]
            return a[tuple(slice({"B": batch, "T": time}.get(letter)) for letter in letters)]

        return {name: cut(name, a) for name, a in self.given.items()}

    def __call__(self, given: dict[str, Any]) -> tuple[Any, Any]:
        outputs, state, *_ = self.function(**given, **self.options)
        return outputs, state


def _sequence(*names: str, **sizes: int) -> dict[str, np.ndarray]:
    return {name: normal(name.rsplit("_", 1)[1], **sizes) for name in names}


def _cell(name: str) -> tuple[type, Any]:
    """A cell and its parameters, made without compiling."""
    cell = CELLS.get(name)
    config = cell.Config(in_features=SIZES["D"], features=4)
    shapes = jax.eval_shape(lambda: cell.init(jax.random.key(0), config))
    return cell, jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.1, leaf.dtype), shapes)


_LSTM, _GRU = _cell("lstm"), _cell("gru")
_QKV = ("q_BTHK", "k_BTHK", "v_BTHV")
_RWKV = _sequence("r_BTHK", "k_BTHK", "v_BTHV", "log_w_BTHK", "u_HK")
_SSD = _sequence("x_BTHP", "dt_BTH", "A_H", "B_BTGN", "C_BTGN", "D_H", G=2)
_ATTENTION = {"q_BTHK": normal("BTHK"), "k_BTGK": normal("BTGK", G=1), "v_BTGK": normal("BTGK", G=1)}
_CACHE = KVCache(normal("BWGK", W=2, G=1), normal("BWGK", W=2, G=1), np.array([2, 1], np.int32))

OPS = [
    Op("mlstm", mlstm, _sequence(*_QKV, "i_BTH", "f_BTH"), "state", MLSTMState(*map(normal, ("BHKV", "BHK", "BH")))),
    Op("slstm", slstm, _sequence("x_BTGHD", "r_GHDD"), "state", SLSTMState(*[normal("BHD")] * 4)),
    Op("retention", retention, _sequence(*_QKV, "log_decay_H"), "state", normal("BHKV")),
    Op("gated_linear_attention", gated_linear_attention, _sequence(*_QKV, "log_f_BTH"), "state", normal("BHKV")),
    Op("ssd", ssd, _SSD, "state", normal("BHNP")),
    Op("rwkv6", rwkv6, _RWKV, "state", normal("BHKV")),
    Op("causal_conv", causal_conv, _sequence("x_BTD", "kernel_WD", "bias_D"), "carry_BWD", normal("BWD", W=2)),
    Op("attention", attention, _ATTENTION, "cache", _CACHE, {"window": 3}),
    Op(
        "recurrence of LSTM",
        functools.partial(recurrence, *_LSTM),
        _sequence("x_BTD"),
        "carry",
        LSTMCarry(*[normal("BK")] * 2),
    ),
    Op(
        "recurrence of GRU",
        functools.partial(newton_recurrence, *_GRU),
        _sequence("x_BTD"),
        "carry",
        CELLS.get("gru").init_carry(_GRU[1].config, (2,)),
    ),
]
