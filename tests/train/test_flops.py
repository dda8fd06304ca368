"""FLOP of a step: against formulas, against the compiler's count, and as metrics."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from tests.models.examples import abstract, small
from xlstm_jax.models import BLOCKS, ModelConfig
from xlstm_jax.models.blocks.mlstm import MLSTMBlockConfig
from xlstm_jax.models.blocks.transformer import TransformerBlockConfig
from xlstm_jax.models.blocks.xlstm import XLSTMBlockConfig
from xlstm_jax.train.flops import PEAKS, StepCost, Uncountable, count, known_peak

BATCH, TIME, FEATURES, HEADS, VOCABULARY = 2, 64, 128, 2, 60
CONFIG = ModelConfig(
    vocab_size=VOCABULARY,
    features=FEATURES,
    blocks=(
        MLSTMBlockConfig(num_heads=HEADS, qkv_block_size=16, implementation="parallel"),
        TransformerBlockConfig(num_heads=HEADS, num_kv_heads=1, window=TIME),
        XLSTMBlockConfig(num_heads=HEADS, implementation="parallel"),
    ),
)
HEAD = 2 * FEATURES * VOCABULARY


def forward(config):
    """Some function of all logits and of the state left behind, its parameters and its tokens, as shapes."""
    graphdef, params = abstract(config)

    def run(params, tokens):
        logits, carry = nnx.merge(graphdef, params).unroll(tokens)
        return sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves((logits**2, carry)))

    return run, params, jax.ShapeDtypeStruct((BATCH, TIME), jnp.int32)


def counted(pattern, **changes):
    return count(*forward(dataclasses.replace(CONFIG, pattern=pattern, **changes)))


def test_transformer_block():
    """Queries, keys, values, output; scores and their sums over all steps; three maps of the feed-forward layer."""
    inner, width = 384, FEATURES // HEADS
    maps = 2 * FEATURES * (2 * FEATURES + 2 * width + 3 * inner)
    attention = 2 * 2 * TIME * HEADS * width
    assert counted("t") == BATCH * TIME * (maps + attention + HEAD)


def test_mlstm_block():
    """W_up, q k v by tiles of 32, gates, W_down; scores, their sums, the first state's part and the last state, and the
    forget gates' running sums in three parts."""
    inner, width = 2 * FEATURES, 2 * FEATURES // HEADS
    maps = 2 * (FEATURES * 2 * inner + 3 * inner * 32 + 3 * inner * 2 * HEADS + inner * FEATURES)
    memory = 2 * HEADS * (TIME * 2 * width + 2 * width * width + width + 3 * TIME)
    assert counted("m") == BATCH * TIME * (maps + memory + HEAD)


@pytest.mark.parametrize("pattern", ["t", "m", "x"])
def test_the_compilers_count(pattern):
    """XLA counts elementwise work too, which is little here: 6 % at most, forward, and forward with backward."""
    run, *args = forward(dataclasses.replace(CONFIG, pattern=pattern))
    ours = count(run, *args)
    for function, times in ((run, 1), (jax.value_and_grad(run), 3)):
        theirs = jax.jit(function).lower(*args).compile().cost_analysis()["flops"]
        assert theirs == pytest.approx(times * ours, rel=0.06)


@pytest.mark.parametrize("letter", BLOCKS.names())
def test_every_block_is_counted(letter):
    """A layer more costs as much again, and neither rematerialisation nor the scan changes the count."""
    head = 2 * 16 * 11 * BATCH * TIME
    one, two, other = (
        count(*forward(small(pattern, **changes)))
        for pattern, changes in (
            (letter, {}),
            (f"{letter}*2", {}),
            (f"{letter}*2", {"remat": "full", "scan_layers": True}),
        )
    )
    assert head < one and two == other == 2 * one - head


def test_loops_branches_and_convolutions():
    x, w = jnp.ones((4, 4)), jnp.ones((4, 4))
    product = 2 * 4**3

    def turns(number):
        return lambda x: jax.lax.fori_loop(0, number, lambda _, x: x @ w, x)

    assert count(turns(5), x) == 5 * product
    assert count(lambda x: jax.lax.cond(x[0, 0] > 0, lambda x: x @ w @ w, lambda x: x @ w, x), x) == 2 * product
    assert count(lambda x: jax.lax.platform_dependent(x, cpu=lambda x: x @ w, default=lambda x: x @ w @ w), x) == (
        2 * product
    )
    assert count(lambda x: jax.lax.while_loop(lambda x: x.sum() < 9, lambda x: x + 1, x) @ w, x) == product
    with pytest.raises(Uncountable, match="iterations depends on the data"):
        count(lambda x, number: turns(number)(x), x, 3)
    image, kernel = jnp.ones((1, 6, 9, 9)), jnp.ones((8, 3, 2, 5))  # two groups of three channels
    convolved = count(lambda x: jax.lax.conv_general_dilated(x, kernel, (1, 1), "VALID", feature_group_count=2), image)
    assert convolved == 2 * (8 * 8 * 5) * (3 * 2 * 5)


def test_all_devices_are_counted():
    """Of what each device does on its own part, those along the axes that share it out."""
    mesh = jax.make_mesh((2, 4), ("data", "other"), axis_types=(AxisType.Auto,) * 2)
    options = {"mesh": mesh, "in_specs": P("data"), "out_specs": P("data"), "axis_names": {"data"}, "check_vma": False}
    x, w = jnp.ones((6, 4)), jnp.ones((4, 5))
    assert count(jax.jit(jax.shard_map(lambda x: x @ w, **options)), x) == count(lambda x: x @ w, x) == 2 * 6 * 4 * 5


def test_speed_and_utilisation():
    assert StepCost(None, 1e12).metrics(2.0) == {}
    assert StepCost(1e9, None).metrics(2.0) == {"train/model_flops_per_second": 2e9}
    assert StepCost(1e9, 8e9).metrics(2.0) == {"train/model_flops_per_second": 2e9, "train/utilisation": 0.25}
    assert str(StepCost(1.234e9, None)) == "1.23e+09 FLOP per step"


@pytest.mark.parametrize(
    ("kind", "dtype", "wanted"),
    [
        ("NVIDIA H100 80GB HBM3", "bfloat16", PEAKS["H100"][0]),
        ("NVIDIA H100 PCIe", "bfloat16", PEAKS["H100 PCIe"][0]),
        ("NVIDIA A100-SXM4-80GB", "float32", PEAKS["A100"][1]),
        ("NVIDIA A10", "float32", PEAKS["A10"][1]),
        ("NVIDIA L4", "bfloat16", PEAKS["L4"][0]),
        ("Tesla T4", "bfloat16", None),
        ("NVIDIA A10", "float64", None),
        ("NVIDIA GeForce RTX 4090", "bfloat16", PEAKS["RTX 4090"][0]),
        ("cpu", "float32", None),
    ],
)
def test_known_peaks(kind, dtype, wanted):
    assert known_peak(kind, dtype) == (wanted and 1e12 * wanted)
    assert all(peaks[1] for peaks in PEAKS.values()) and np.all([b is None or b > a for b, a in PEAKS.values()])
