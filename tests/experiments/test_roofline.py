"""Counts of kernels: products, bytes by the model of a cache, and the program that prints them."""

import itertools
import math

import jax
import jax.numpy as jnp
import pytest
from jax.experimental import pallas as pl

from experiments.counting.cards import CARDS
from experiments.counting.kernels import bytes_moved, cost
from experiments.counting.programs import kernels
from xlstm_jax.ops.kernels import Block, Launch, Launched

SIZES = [2, 512, 2, 64, 128]


def launched(grid=(4, 3), *, rows_fastest=True):
    """A product of matrices: each program reads a row of blocks of one, a column of the other, and writes a block."""
    i, j = (0, 1) if rows_fastest else (1, 0)
    array = jax.ShapeDtypeStruct((64, 64), jnp.float32)
    spec = {
        "rows": pl.BlockSpec((16, 64), lambda *at: (at[i], 0)),
        "columns": pl.BlockSpec((64, 16), lambda *at: (0, at[j])),
        "both": pl.BlockSpec((16, 16), lambda *at: (at[i], at[j])),
    }
    blocks = [Block(spec[name], array, name == "both") for name in spec]
    return Launched("product", grid, tuple(blocks), Launch(warps=8), flops=2 * 16 * 16 * 64 * math.prod(grid))


def test_every_block_once_from_a_large_cache():
    row, written = 16 * 64 * 4, 16 * 16 * 4
    assert bytes_moved(launched(), at_once=1, capacity=1e9) == (4 + 3) * row + 12 * written


def test_a_cache_of_nothing_keeps_what_runs_at_once():
    """One by one, every program reads its two blocks; all at once, each block is read once."""
    row, written = 16 * 64 * 4, 16 * 16 * 4
    assert bytes_moved(launched(), at_once=1, capacity=0) == 2 * 12 * row + 12 * written
    assert bytes_moved(launched(), at_once=12, capacity=0) == (4 + 3) * row + 12 * written


def test_the_first_axis_is_the_fastest():
    """Four programs at once are one column of four blocks, or with the axes swapped, a row of three and one more."""
    row, written = 16 * 64 * 4, 16 * 16 * 4
    assert bytes_moved(launched(), at_once=4, capacity=0) == 3 * (4 + 1) * row + 12 * written
    swapped = bytes_moved(launched((3, 4), rows_fastest=False), at_once=4, capacity=0)
    assert swapped == 3 * (2 + 3) * row + 12 * written


def test_waves():
    """Twelve programs of 8 warps on 108 units take as long as 108 would."""
    found = cost(launched(), CARDS["a100"])
    assert found.waves == 12 / 108
    assert found.products_ms == pytest.approx(1e3 * found.flops / 19.5e12 * 9)
    assert found.bound_ms == max(found.products_ms, found.memory_ms)


def test_products_of_the_mlstm():
    """By a loop over the pairs of steps that the outputs see in each chunk of 256, in tiles of 128 and 64 steps."""
    batch, time, heads, keys, values = SIZES
    found = {kernel.name: kernel for kernel in kernels("mlstm", SIZES, "bfloat16")["forward"]}
    assert list(found) == ["mlstm_states", "mlstm_outputs"]
    tiles = itertools.product(range(0, 256, 128), range(0, 256, 64))
    pairs = sum(128 * 64 for t, s in tiles if s < t + 128)
    chunks = batch * heads * time // 256
    assert found["mlstm_outputs"].flops == 2 * chunks * (pairs * (keys + values) + 256 * keys * values)
    assert found["mlstm_states"].flops == 2 * batch * heads * time * keys * values


def test_the_program(programs):
    """A row for each kernel of both passes, and the sum of each pass."""
    printed = programs.output("roofline", f"--sizes={','.join(map(str, SIZES))}", "--card=h200")
    for name in ("states", "outputs", "state_gradients", "q_gradient", "k_gradient", "v_gradient"):
        assert f"mlstm_{name}" in printed
    assert "counted, not run" in printed and "forward, all" in printed and "backward, all" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sizes=8,many"], "--sizes=8,many must be whole numbers"),
        (["--sizes=8,64"], "--sizes 8,64 has 2 numbers; --op=mlstm takes batch, time, heads, keys, values"),
        (["--sizes=8,0,2,16,16"], "every size must be at least 1"),
        (["--sizes=8,64,2,1024,16"], "it takes heads of at most 512"),
        (["--op=slstm", "--sizes=16,64,2,512"], "it takes at most 128"),
    ],
)
def test_bad_input(programs, arguments, message):
    done = programs.run("roofline", *arguments)
    assert done.returncode == 2 and message in done.stderr and done.stderr.count("\n") == 1
