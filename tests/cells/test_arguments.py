"""Errors for wrong arguments of every cell and config; empty batches and empty sequences."""

import dataclasses
import functools
import re
import typing

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.cells import CELLS
from xlstm_jax.config import bounds_of
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence import recurrence
from xlstm_jax.testing.examples import BATCH, examples

SEQUENCE = examples()
each_cell = pytest.mark.parametrize("example", SEQUENCE, ids=repr)
PLAIN = [example for example in SEQUENCE if "-" not in example.name]  # with its default options
each_plain_cell = pytest.mark.parametrize("example", PLAIN, ids=repr)


@functools.cache
def shapes(example):
    """Parameters, inputs of 3 steps and a carry, as shapes."""
    params = jax.eval_shape(lambda: example.cell.init(jax.random.key(0), example.config))
    carry = jax.eval_shape(lambda: example.cell.init_carry(example.config, (BATCH,)))
    return params, jax.ShapeDtypeStruct(example.inputs(3, np.float32).shape, np.float32), carry


def run(example, params, x, carry=None, **options):
    return jax.eval_shape(
        lambda params, x, carry: recurrence(example.cell, params, x, carry=carry, **options), params, x, carry
    )


@pytest.mark.parametrize("example", SEQUENCE + examples("tree"), ids=repr)
def test_sizes_of_a_config(example):
    """In every config each integer must be at least 1, and each choice must be a known one."""
    checked = []
    for name, hint in typing.get_type_hints(example.cell.Config).items():
        wrong = (
            (0, -1, 2.5)
            if hint in (int, int | None)
            else ("else",)
            if typing.get_origin(hint) is typing.Literal
            else ()
        )
        for value in wrong:
            with pytest.raises(UsageError, match=rf"^\w+ {name} {value!r} is (not allowed|unknown)") as caught:
                dataclasses.replace(example.config, **{name: value})
            assert "\n" not in str(caught.value)
            checked.append(name)
    assert {"in_features", "features"} <= set(checked)


@pytest.mark.parametrize("example", PLAIN + examples("tree"), ids=repr)
def test_numbers_and_switches_of_a_config(example):
    """Non-numbers for a number, and a string for a switch, which Python would take as true."""
    for field in dataclasses.fields(example.cell.Config):
        assert field.type is not float, f"{field.name} has no bounds; see xlstm_jax.config"
        for value in (np.nan, np.inf, "1") if bounds_of(field.type) else ("no",) if field.type is bool else ():
            with pytest.raises(UsageError, match=rf"^\w+ {field.name} {value!r} is not allowed; must be "):
                dataclasses.replace(example.config, **{field.name: value})


@each_plain_cell
def test_inputs_and_carries_that_do_not_fit(example):
    """Inputs with wrong axes, width or kind; carries with a wrong batch size or with another cell's structure."""
    params, x, carry = shapes(example)
    assert run(example, params, x, carry)[0].shape[:2] == x.shape[:2]
    owner = f"recurrence of {example.cell.__name__} got "
    for axis in range(2, len(x.shape)):
        wrong = x.update(shape=(*x.shape[:axis], x.shape[axis] + 1, *x.shape[axis + 1 :]))
        with pytest.raises(
            UsageError, match=re.escape(owner + "x (") + rf".*: x has [XYZD] = {x.shape[axis] + 1}, not"
        ):
            run(example, params, wrong)
    for wrong, message in (
        (x.update(shape=(3, *x.shape[2:])), f"x has {len(x.shape) - 1} axes, not {len(x.shape)}"),
        (x.update(dtype=np.int32), "of int32; wanted floats"),
    ):
        with pytest.raises(UsageError, match=re.escape(owner) + ".*" + message):
            run(example, params, wrong)
    for rows in (1, BATCH + 1):
        with pytest.raises(UsageError, match=re.escape(owner + "carry") + r"\.\w+ \("):
            run(
                example,
                params,
                x,
                jax.tree.map(lambda leaf, rows=rows: leaf.update(shape=(rows, *leaf.shape[1:])), carry),
            )
    for other in (jax.ShapeDtypeStruct((BATCH, 4), np.float32), (*carry, *carry), *others(carry)):
        with pytest.raises(UsageError, match=re.escape(owner + "carry")):
            run(example, params, x, other)


def others(carry):
    """A carry of each structure that other cells have."""
    found = {type(other): other for *_, other in map(shapes, PLAIN)}
    return [other for kind, other in found.items() if kind is not type(carry)]


@each_cell
def test_no_rows_and_no_steps(example):
    """Empty outputs have the usual width; carries and gradients keep their shapes. `project` and `step` take 0 rows."""
    params, x, carry = shapes(example)
    usual, _ = run(example, params, x)
    for batch, time in ((BATCH, 0), (0, 3), (0, 0)):
        cut = x.update(shape=(batch, time, *x.shape[2:]))
        before = jax.tree.map(lambda leaf, batch=batch: leaf.update(shape=(batch, *leaf.shape[1:])), carry)
        for reverse in (False, True):
            y, after = run(example, params, cut, before, reverse=reverse)
            assert y.shape == (batch, time, *usual.shape[2:]) and after == before

        def loss(params, x, carry):
            y, after = recurrence(example.cell, params, x, carry=carry)
            return sum(jnp.sum(leaf) for leaf in (y, *after))

        assert jax.eval_shape(jax.grad(loss, (0, 1, 2)), params, cut, before) == (params, cut, before)

    def step(params, x, carry):
        u = jax.tree.map(lambda leaf: leaf[:, 0], example.cell.project(params, x))
        return example.cell.step(params, carry, u)

    none = jax.tree.map(lambda leaf: leaf.update(shape=(0, *leaf.shape[1:])), carry)
    after, y = jax.eval_shape(step, params, x.update(shape=(0, 1, *x.shape[2:])), none)
    assert after == none and y.shape == (0, *usual.shape[2:])


@each_plain_cell
@pytest.mark.parametrize("dtype", [jnp.float16, jnp.bfloat16])
def test_a_narrow_carry_is_taken_as_float32(example, dtype):
    params, x, carry = shapes(example)
    narrow = jax.tree.map(lambda leaf: leaf.update(dtype=dtype), carry)
    assert run(example, params, x, narrow) == run(example, params, x, carry)


def test_maps_of_another_size():
    """A ConvLSTM's kernel size is one integer, its spatial shape a tuple of 1 to 3 sizes."""
    config = functools.partial(CELLS.get("convlstm").Config, 3, 4)
    for options, message in (
        ({"spatial_shape": (4, 4), "kernel_size": (3, 5)}, r"kernel_size \(3, 5\) is not allowed; must be an int"),
        ({"spatial_shape": 5}, "spatial_shape 5 is not allowed; must be a tuple of 1 to 3 sizes"),
        ({"spatial_shape": ()}, r"spatial_shape \(\) is not allowed"),
        ({"spatial_shape": (1, 2, 3, 4)}, "is not allowed; must be a tuple of 1 to 3 sizes"),
        ({"spatial_shape": (4, 0)}, r"spatial_shape\[1\] 0 is not allowed"),
    ):
        with pytest.raises(UsageError, match=message):
            config(**options)
    assert config(spatial_shape=[4, 5]).spatial_shape == (4, 5)
