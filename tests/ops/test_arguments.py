"""Every op rejects wrong arguments with one line that names the argument, and accepts zero rows and zero steps."""

import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.argument_cases import OPS
from xlstm_jax import ops
from xlstm_jax.cells import CELLS
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.mlstm import mlstm
from xlstm_jax.ops.tree import forest, tree_recurrence

each_op = pytest.mark.parametrize("op", OPS, ids=repr)


def test_the_table_has_every_op():
    """By module; `tree` has separate tests below, `crf` elsewhere; `context` and `kernels` have no ops."""
    functions = (getattr(op.function, "func", op.function) for op in OPS)
    covered = {function.__module__.split(".")[2] for function in functions}
    assert covered == {module.name for module in pkgutil.iter_modules(ops.__path__)} - {
        "context",
        "crf",
        "kernels",
        "tree",
    }


def refused(op, name, wrong):
    """The message of a call with one wrong argument."""
    with pytest.raises(UsageError) as caught:
        jax.eval_shape(lambda: op(op.given | {name: wrong}))
    message = str(caught.value)
    assert "\n" not in message and message.startswith(op.name + " got "), message
    return message


@each_op
def test_an_array_that_does_not_fit(op):
    """An axis of another size (except axes that no other array has), one axis less, integers, not an array."""
    for argument, a in op.arrays.items():
        name, letters = argument.rsplit("_", 1)
        for axis, letter in enumerate(letters):
            # An axis that no other argument has may have any size; a kernel's W must match the carry.
            if letter == "D" or (letter != "W" and sum(letter in other.rsplit("_", 1)[-1] for other in op.given) > 1):
                message = refused(op, argument, np.concatenate([a, a], axis))
                assert f"{name} (" in message and f"{name} [{','.join(letters)}]" in message
                assert f" has {letter} = " in message
        assert f"{name} has {len(letters) - 1} axes, not {len(letters)}" in refused(op, argument, a[0])
        assert f"{name} {a.shape} of int32; wanted floats" in refused(op, argument, a.astype(np.int32))
        assert f"{name} that is not an array" in refused(op, argument, [[1.0], [2.0, 3.0]])
        if name not in ("D", "log_decay"):  # which may be left out
            assert refused(op, argument, None) == f"{op.name} got None for {name}; pass an array"


@each_op
def test_masks_that_do_not_fit(op):
    for name, wrong, message in (
        ("lengths_B", np.array([5]), "lengths has B = 1, not 2"),
        ("lengths_B", np.array(5), "lengths has 0 axes, not 1"),
        ("lengths_B", np.ones((2, 5), bool), r"lengths (2, 5) of bool; wanted integers [B], .* mask.sum(1)"),
        ("lengths_B", np.array([5.0, 3.0]), "lengths (2,) of float32; wanted integers [B]"),
        ("reset_BT", np.zeros((1, 5), bool), "reset has B = 1, not 2"),
        ("reset_BT", np.zeros((2, 1), bool), "reset has T = 1, not 5"),
        ("reset_BT", np.zeros((2, 5), np.int32), "reset (2, 5) of int32; wanted bools [B,T]"),
    ):
        assert all(part in refused(op, name, wrong) for part in message.split(".*"))


@each_op
def test_a_state_of_another_input(op):
    """One row or three instead of two, another width, integers, a plain tuple with too many parts."""
    name = op.start.split("_")[0]
    for change in (lambda a: a[:1], lambda a: np.concatenate([a, a[:1]]), lambda a: a[..., :1], lambda a: a > 0):
        assert name in refused(op, op.start, jax.tree.map(change, op.state))
    for bare in ((np.ones((2, 4), np.float32),) * 7, np.ones((2, 4), np.float32)):
        assert name in refused(op, op.start, bare)


@each_op
def test_lists_are_arrays(op):
    lists = {name: a if name == op.start else a.tolist() for name, a in op.given.items()}
    assert jax.eval_shape(lambda: op(lists)) == jax.eval_shape(lambda: op(op.given))


@each_op
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16, np.float64])
def test_a_state_in_another_float_is_taken_in_the_op_s_own(op, dtype, x64):
    """A state becomes at least float32; a cache of inputs takes the inputs' dtype."""
    state = jax.tree.map(lambda a: a.astype(dtype) if a.dtype == np.float32 else a, op.state)
    assert jax.eval_shape(op, op.given | {op.start: state}) == jax.eval_shape(op, op.given)


@each_op
def test_no_rows_and_no_steps(op):
    """Outputs are empty with the usual width, the state covers all rows, and both have gradients."""
    usual = jax.eval_shape(op, op.given)
    for batch, time in ((2, 0), (0, 5), (0, 0)):
        given = op.empty(batch, time)
        outputs, state = jax.eval_shape(op, given)
        assert outputs.shape == (batch, time, *usual[0].shape[2:]) and outputs.dtype == usual[0].dtype
        for got, wanted in zip(jax.tree.leaves(state), jax.tree.leaves(usual[1]), strict=True):
            assert (got.shape, got.dtype) == ((batch, *wanted.shape[1:]), wanted.dtype)
        floats = {name: a for name, a in given.items() if name in op.arrays}

        def loss(floats, given=given):
            return sum(jnp.sum(a) for a in jax.tree.leaves(op(given | floats)) if a.dtype == jnp.float32)

        gradient = jax.eval_shape(jax.grad(loss), floats)
        assert {name: a.shape for name, a in gradient.items()} == {name: a.shape for name, a in floats.items()}
        without = {name: a for name, a in given.items() if name in op.arrays}
        assert jax.tree.structure(jax.eval_shape(op, without)) == jax.tree.structure(usual)


@each_op
def test_no_steps_leave_the_state_as_it_is(op):
    """The values are unchanged, and the gradient from final to initial state is one."""
    given = op.empty(2, 0)
    _, state = op(given)
    jax.tree.map(np.testing.assert_array_equal, state, op.state)

    def total(start):
        return sum(jnp.sum(a) for a in jax.tree.leaves(op(given | {op.start: start})[1]) if a.dtype == jnp.float32)

    for gradient in jax.tree.leaves(jax.grad(total, allow_int=True)(op.state)):
        assert gradient.dtype != np.float32 or (np.asarray(gradient) == 1).all()


@pytest.mark.parametrize("size", [0, -1, 2.5, True, "4"])
def test_options_that_are_no_size(size):
    """Size options of the mLSTM's core, of other ops, and of a recurrence."""
    by_name = {repr(op): op for op in OPS}
    for name, option in (("mlstm", "chunk_size"), ("ssd", "chunk_size")):
        with pytest.raises(UsageError, match=f"{name} {option} {size!r} is not allowed; must be an integer, at"):
            jax.eval_shape(lambda op=by_name[name], option=option: op.function(**op.given, **{option: size}))
    op = by_name["attention"]
    with pytest.raises(UsageError, match=f"attention window {size!r} is not allowed"):
        jax.eval_shape(lambda: op.function(**op.given, window=size))
    with pytest.raises(UsageError, match=f"recurrence remat_every {size!r} is not allowed"):
        op = by_name["recurrence_of_LSTM"]
        jax.eval_shape(lambda: op.function(**op.given, remat_every=size))


def test_heads_that_attention_does_not_take():
    op = next(op for op in OPS if op.name == "attention")
    for changes, message in (
        ({"k_BTGK": np.ones((2, 5, 3, 4), np.float32), "v_BTGK": np.ones((2, 5, 3, 4), np.float32)}, "in 3 groups"),
        ({name: a[..., :3] for name, a in op.arrays.items()}, "2 heads of 3 features"),
    ):
        with pytest.raises(UsageError, match=f"attention got .*{message}"):
            jax.eval_shape(lambda changes=changes: op(op.given | changes))


def test_trees_that_do_not_fit():
    """Children as lists of different lengths, a shape not made by `forest`, inputs of another width or kind."""
    with pytest.raises(UsageError, match="children are lists of different lengths; pad each to the longest with -1"):
        forest([[-1], [0, 0]])
    with pytest.raises(UsageError, match="forest rows 0 is not allowed"):
        forest([[-1], [0]], rows=0)
    cell = CELLS.get("treelstm_nary")
    config = cell.Config(in_features=3, features=4)
    params, two = jax.eval_shape(lambda: cell.init(jax.random.key(0), config)), forest([[-1, -1], [0, -1]])
    for x, shape, message in (
        (np.ones((2, 5), np.float32), two, r"got x \(2, 5\); wanted x \[N,D\]: x has D = 5, not 3"),
        (np.ones((2, 3), np.int32), two, r"x \(2, 3\) of int32; wanted floats"),
        (np.ones((2, 3), np.float32), [[-1], [0]], r"a shape of type list; pass forest\(children_NC\)"),
    ):
        with pytest.raises(UsageError, match=message):
            tree_recurrence(cell, params, x, shape)


def test_a_call_under_vmap_sees_one_sequence():
    """Axes mapped by `vmap` do not count."""
    op = OPS[0]
    args = [np.stack([a, a]) for a in op.arrays.values()]
    h, _ = jax.eval_shape(jax.vmap(mlstm), *args)
    assert h.shape == (2, 2, 5, 2, 6)
