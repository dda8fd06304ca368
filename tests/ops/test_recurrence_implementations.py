"""Every implementation that covers a cell against the scan: values and all gradients.

Cells come from the registry where possible, so a new cell is compared once it is registered.
"""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.cells.base import LinearCell, SplitCell
from xlstm_jax.ops.recurrence import recurrence
from xlstm_jax.ops.recurrence.chunked import chunk_length
from xlstm_jax.testing.compare import assert_close, normal_like
from xlstm_jax.testing.examples import BATCH, examples

pytestmark = pytest.mark.usefixtures("rolled")

T = 11  # leaves a remainder after the chunks
RESET = np.zeros((BATCH, T), bool)
RESET[0, [2, 3, 7]] = True  # two in a row
RESET[1, [0, 8]] = True  # before the first step, and in the padding of a length of 4
MASKS = {
    "plain": (np.array([T, T]), np.zeros_like(RESET)),
    "resets": (np.array([T, T]), RESET),
    "lengths": (np.array([T, 4]), RESET),
    "empty": (np.array([0, 1]), RESET),
}
EXAMPLES = {example.name: example for example in examples()}
FASTER = {"chunked": SplitCell, "associative": LinearCell}  # and the cells they cover
COVERED = [
    (name, implementation)
    for name, example in EXAMPLES.items()
    for implementation, kind in FASTER.items()
    if issubclass(example.cell, kind) and not example.without_bias  # runs like the others
]
# Cells do not see the order of steps: one cell for each implementation, and one with several states.
BACKWARDS = ("lstm", "slstm", "minlstm")
# Options of a cell, and the cells that are an LSTM without one of its parts, are another step of the same loop.
ALIKE = re.compile(r".*-|lstm_(cifg|n.*|1997|peephole|fgr)|mgu|mingru")
PAIRS = [
    pytest.param(pair, marks=[pytest.mark.slow] * bool(ALIKE.match(pair[0])), id="-".join(pair)) for pair in COVERED
]


@pytest.fixture(params=PAIRS, scope="module")
def covered(request):
    """A cell's name and an implementation; tests of one pair run together and share compiled programs."""
    return request.param


@functools.cache
def compiled(name: str, implementation: str, reverse: bool = False):
    """pull((dy, dlast), lengths, reset, params, x, carry, start): ((y, last), gradients of the last four)."""

    def pull(cotangents, lengths, reset, *given):
        def run(params, x, carry, start):
            options = {"lengths_B": lengths, "reset_BT": reset, "reverse": reverse, "implementation": implementation}
            return recurrence(EXAMPLES[name].cell, params, x, carry=carry, start=start, **options)

        outputs, pullback = jax.vjp(run, *given)
        return outputs, pullback(cotangents)

    return jax.jit(pull)


def given(name: str, time: int = T):
    """Cotangents of y and of the last carry; params, x, a carry and a start value, both as after a step."""
    example = EXAMPLES[name]
    params, x = example.params(np.float64), example.inputs(time, np.float64)
    u = jax.tree.map(lambda leaf: leaf[:, 0], example.cell.project(params, x[:, :1]))
    carry, y = example.cell.step(params, example.start(np.float64), u)
    start = jax.tree.map(lambda leaf: leaf + 0.1, carry)
    dy = normal_like(jnp.zeros((BATCH, time, *y.shape[1:]), y.dtype), 3)
    return (dy, normal_like(carry, 4)), (params, x, carry, start)


def turned(lengths: np.ndarray):
    """A function that reverses each sequence [B, T, ...] within its own length."""
    index = np.stack([np.r_[np.arange(n)[::-1], np.arange(n, T)] for n in lengths])
    return lambda array: array[np.arange(BATCH)[:, None], index]


def test_equal_to_the_scan(covered, x64):
    """Outputs, last carry and gradients of params, x, carry and start; in reverse, those for reversed inputs."""
    name, implementation = covered
    (dy, dlast), (params, x, carry, start) = given(name)
    for lengths, reset in MASKS.values():
        arguments = (dy, dlast), lengths, reset, params, x, carry, start
        got = compiled(name, implementation)(*arguments)
        assert_close(got, compiled(name, "scan")(*arguments))
        assert any(np.any(np.asarray(leaf)) for leaf in jax.tree.leaves(got[1][3])) == reset[:, : lengths.max()].any()
        if name not in BACKWARDS:
            continue
        turn = turned(lengths)
        # A reset at t acts between t and t - 1: in reverse before step t - 1, within a sequence's own length.
        before = np.pad(reset[:, 1:], ((0, 0), (0, 1))) & (np.arange(T) < lengths[:, None] - 1)
        wanted = compiled(name, "scan")((turn(dy), dlast), lengths, turn(before), params, turn(x), carry, start)
        (y, last), (dparams, dx, *rest) = wanted
        wanted = (turn(y), last), (dparams, turn(dx), *rest)
        assert_close(compiled(name, implementation, reverse=True)(*arguments), wanted)


def test_padding_may_hold_anything(covered, x64):
    """NaN and infinity after a sequence's end reach no value or gradient, even in an empty sequence."""
    padding_holds_anything(*covered)


@pytest.mark.parametrize("name", ["mlstm", "gru"])
def test_padding_may_hold_anything_in_the_scan(name, x64):
    padding_holds_anything(name, "scan")


def padding_holds_anything(name: str, implementation: str):
    cotangents, (params, x, *state) = given(name)
    for lengths in (np.array([7, 0]), np.array([T, 1])):
        padding = np.arange(T) >= lengths[:, None]
        wanted = compiled(name, implementation)(cotangents, lengths, RESET, params, x, *state)
        assert not np.asarray(wanted[1][1])[padding].any()
        for garbage in (np.nan, np.inf):
            bad = jnp.where(padding.reshape(BATCH, T, *(1,) * (x.ndim - 2)), garbage, x)
            got = compiled(name, implementation)(cotangents, lengths, RESET, params, bad, *state)
            assert_close(got, wanted, limit=0)


@pytest.mark.parametrize(
    ("time", "reverse"),
    [
        pytest.param(
            time, reverse, marks=[pytest.mark.slow] * ((time, reverse) not in ((1, False), (3, True), (10, False)))
        )
        for time in (1, 3, 5, 8, 10)
        for reverse in (False, True)
    ],
)
def test_any_number_of_chunks(time, reverse, x64):
    """Less than a chunk, and chunks of either length without a remainder."""
    assert time < chunk_length(time) or time % chunk_length(time) == 0
    cotangents, arguments = given("gru-reset=before", time)
    masks = np.array([time, time - 1]), RESET[:, :time]
    got, wanted = (
        compiled("gru-reset=before", implementation, reverse)(cotangents, *masks, *arguments)
        for implementation in ("chunked", "scan")
    )
    assert_close(got, wanted)
