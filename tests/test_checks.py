"""Checks of arguments: one line names the first that does not fit, what was given and what is allowed."""

import re
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.checks import check_choice, check_dtype, check_parts, check_sizes, checked, checked_carry
from xlstm_jax.errors import UsageError

X = np.ones((2, 3, 4), np.float32)


class State(NamedTuple):
    c: Any
    count: Any


class Other(NamedTuple):
    c: Any
    count: Any


LIKE = State(jnp.zeros((2, 4)), jnp.zeros((2,), jnp.int32))


def test_arrays_come_back_in_their_order():
    x, none, lengths = checked("op", {"D": 4}, x_BTD=X.tolist(), reset_BT=None, lengths_B=[3, 1])
    assert none is None and isinstance(x, jax.Array) and x.dtype == jnp.float32 and lengths.dtype == jnp.int32
    np.testing.assert_array_equal(x, X)
    _, lengths, mask = checked("op", x_BTD=X[:0], lengths_B=[], mask_BT=X[:0, :, 0] > 0)
    assert lengths.shape == (0,) and lengths.dtype == jnp.int32 and mask.shape == (0, 3)
    (same,) = checked("op", x_BTD=x)
    assert same is x


def test_axes_before_the_last_ones_may_be_any():
    assert checked("op", {"D": 4}, **{"x_...D": X[0, 0]})[0].shape == (4,)
    with pytest.raises(UsageError, match=re.escape("op got x (2, 3, 4); wanted x [...,D]: x has D = 4, not 5")):
        checked("op", {"D": 5}, **{"x_...D": X})
    with pytest.raises(UsageError, match=re.escape("x has 1 axes, not 2")):
        checked("op", **{"x_...HD": X[0, 0]})


@pytest.mark.parametrize(
    "arrays, message",
    [
        (
            {"x_BTD": X, "y_BD": X[:, 0, :2]},
            "op got x (2, 3, 4), y (2, 2); wanted x [B,T,D], y [B,D]: y has D = 2, not 4",
        ),
        ({"x_BTD": X[0]}, "op got x (3, 4); wanted x [B,T,D]: x has 2 axes, not 3"),
        ({"r_DD": X[0]}, "op got r (3, 4); wanted r [D,D]: r has D = 4, not 3"),
        ({"x_BTD": X > 0}, "op got x (2, 3, 4) of bool; wanted floats: float32, bfloat16 or float64"),
        ({"tokens_BT": X[..., 0]}, "op got tokens (2, 3) of float32; wanted integers"),
        ({"mask_BT": X[..., 0]}, "op got mask (2, 3) of float32; wanted bools [B,T], true where a step counts"),
        ({"x_BTD": [[1.0], [1.0, 2.0]]}, "op got x that is not an array: setting an array element with a sequence"),
        ({"x_BTD": "text"}, "op got x that is not an array: "),
        ({"x_BTD": None}, "op got None for x; pass an array"),
        ({"x_BTD": jnp.asarray(X, jnp.float8_e4m3fn)}, "op got x (2, 3, 4) of float8_e4m3fn; wanted floats: float32"),
        (
            {"tokens_BT": np.array([[0, 2**32]])},
            "op got tokens with numbers outside of int32, -2147483648 to 2147483647",
        ),
        ({"tokens_BT": [[0, 2**32]]}, "op got tokens that is not an array: "),
    ],
)
def test_arrays_that_do_not_fit(arrays, message):
    with pytest.raises(UsageError, match="^" + re.escape(message)) as caught:
        checked("op", **arrays)
    assert "\n" not in str(caught.value)


def test_a_carry_gets_the_dtypes_wanted():
    got = checked_carry("op", State(np.ones((2, 4), np.float16), np.ones((2,), np.int32)), LIKE)
    assert (got.c.dtype, got.count.dtype) == (jnp.float32, jnp.int32) and (np.asarray(got.c) == 1).all()


@pytest.mark.parametrize(
    "carry, message",
    [
        (State(LIKE.c[:1], LIKE.count), "carry.c (1, 4) of float32; wanted (2, 4) of float32"),
        (State(LIKE.c > 0, LIKE.count), "carry.c (2, 4) of bool; wanted (2, 4) of float32"),
        (State(LIKE.c, LIKE.count.astype(float)), "carry.count (2,) of float32; wanted (2,) of int32"),
        (State(LIKE.c, None), "carry.count None; wanted (2,) of int32"),
        (State([1.0], LIKE.count), "carry.c list of 1 (float); wanted (2, 4) of float32"),
        (Other(*LIKE), "carry Other(c, count); wanted State(c, count)"),
        (tuple(LIKE), "carry tuple of 2 (array (2, 4), array (2,)); wanted State(c, count)"),
        (LIKE.c, "carry array (2, 4); wanted State(c, count)"),
        (None, "carry None; wanted State(c, count)"),
    ],
)
def test_a_carry_of_something_else(carry, message):
    with pytest.raises(UsageError, match="^op got " + re.escape(message) + " for this input$"):
        checked_carry("op", carry, LIKE)


def test_a_part_may_be_left_out_where_a_layer_has_several():
    """None means its initial carry; given parts are compared, at any nesting."""
    like = {"first": (LIKE, LIKE), "none": None}
    check_parts("op", {"first": (None, LIKE), "none": None}, like)
    for wrong, message in (
        ({"first": (None, Other(*LIKE)), "none": None}, "carry['first'][1] Other(c, count); wanted State(c, count)"),
        ({"first": (LIKE,), "none": None}, "carry['first'] tuple of 1 (State(c, count)); wanted tuple of 2"),
        ({"first": (LIKE, LIKE), "none": LIKE}, "carry['none'] State(c, count); wanted None"),
        ({"second": (LIKE, LIKE), "none": None}, "carry dict of 'second', 'none'; wanted dict of 'first', 'none'"),
    ):
        with pytest.raises(UsageError, match=re.escape(message)):
            check_parts("op", wrong, like)


@pytest.mark.parametrize("size", [0, -3, 1.0, float("nan"), "4", None, True])
def test_sizes(size):
    check_sizes("op", features=1, heads=np.int64(2))
    with pytest.raises(UsageError, match=f"^op features {size!r} is not allowed; must be an integer, at least 1$"):
        check_sizes("op", heads=1, features=size)


def test_choices():
    check_choice("merge", "sum", Literal["concat", "sum"])
    with pytest.raises(UsageError, match=r"^merge 'max' is unknown; allowed: 'concat', 'sum'$"):
        check_choice("merge", "max", Literal["concat", "sum"])


def test_a_size_may_be_symbolic():
    """As for `jax.export` with any batch size."""
    check_sizes("op", batch=jax.export.symbolic_shape("b")[0])


@pytest.mark.parametrize(
    "dtype, shown", [(jnp.int32, "int32"), (bool, "bool"), ("complex64", "complex64"), (jnp.float8_e5m2, "float8_e5m2")]
)
def test_dtypes(dtype, shown):
    assert check_dtype("op", jnp.bfloat16) == check_dtype("op", "bfloat16") == jnp.dtype("bfloat16")
    with pytest.raises(UsageError, match=f"^op dtype {shown} is not allowed; choose a float: "):
        check_dtype("op", dtype)
    with pytest.raises(UsageError, match=r"^op dtype float64 needs jax's x64 mode"):
        check_dtype("op", np.float64)
    with jax.enable_x64():
        assert check_dtype("op", np.float64) == np.float64
    with pytest.raises(UsageError, match=r"^op dtype 'floaty' is not allowed"):
        check_dtype("op", "floaty")
