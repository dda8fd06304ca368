"""Initial values, as in the xLSTM paper."""

import math

import jax
import numpy as np
import pytest
from flax import nnx

from tests.models.examples import reads_numbers
from xlstm_jax.models import ModelConfig, build_model

CONFIG = ModelConfig(vocab_size=200, features=64, pattern="mss")


def initial(config: ModelConfig, seed: int = 0) -> dict:
    made = jax.jit(lambda key: nnx.to_pure_dict(nnx.split(build_model(config, rngs=nnx.Rngs(key)))[1]))
    # This generator compiles in half the time of the default.
    return jax.tree.map(np.asarray, made(jax.random.key(seed, impl="unsafe_rbg")))


@pytest.fixture(scope="module")
def params() -> dict:
    return initial(CONFIG)


def assert_normal(kernel, std):
    """The mean is 0 and the standard deviation as given, both within four standard errors."""
    assert abs(kernel.mean()) < 4 * std / math.sqrt(kernel.size)
    assert kernel.std() == pytest.approx(std, rel=4 / math.sqrt(2 * kernel.size))


def test_kernels(params):
    small, wang = math.sqrt(2 / (5 * 64)), 2 / (3 * math.sqrt(64))
    mlstm, slstm = params["blocks"][0], params["blocks"][1]
    for kernel in (mlstm["up"], mlstm["q"], mlstm["k"], mlstm["v"], slstm["ffn"]["up"], params["head"]):
        assert_normal(kernel["kernel"], small)
    for gate in "ifzo":
        assert_normal(slstm[gate]["kernel"], small)
    for kernel in (mlstm["down"], slstm["ffn"]["down"]):
        assert_normal(kernel["kernel"], wang)
    assert_normal(params["embedding"]["embedding"], small)


@pytest.mark.parametrize("std, wanted", [(0.0, math.sqrt(2 / (5 * 64))), (1.0, 1.0)])
def test_real_inputs_are_mapped_with_a_random_bias(std, wanted):
    """Otherwise, a norm after the map would see only the sign of a single number, and nothing of 0."""
    embedding = nnx.to_pure_dict(
        nnx.split(reads_numbers(ModelConfig(features=64, pattern="r", embedding_std=std), 3))[1]
    )["embedding"]
    for values in embedding.values():
        assert_normal(values, wanted)
    assert set(embedding) == {"kernel", "bias"}


def test_blocks_and_gates_start_apart(params):
    mlstm, first, second = params["blocks"].values()
    pairs = [(mlstm["q"], mlstm["k"]), (mlstm["k"], mlstm["v"]), (first["i"], first["f"]), (first["i"], second["i"])]
    for one, other in pairs:
        assert np.abs(one["kernel"] - other["kernel"]).max() > 0.01


def test_mlstm_gates(params):
    """The kernel is zero; the forget gate's bias is 3 to 6 over heads, the input gate's is normal(0, 0.1)."""
    gates = params["blocks"][0]["gates"]
    assert gates["kernel"].shape == (3 * 128, 8) and not gates["kernel"].any()
    i, f = np.split(gates["bias"], 2)
    np.testing.assert_allclose(f, [3, 4, 5, 6], rtol=1e-6)
    assert 0.001 < np.abs(i).max() < 0.5 and len(set(i)) == 4


@pytest.mark.parametrize("index, exponent", [(1, 0.3 + 1.3 / 2), (2, 0.3 + 1.3)])
def test_slstm_forget_bias(params, index, exponent):
    """5 - 12 (j / 15)^(0.3 + 1.3 l / (NB - 1)) for feature j of each head of width 16; other biases are zero."""
    bias = params["blocks"][index]["bias"]
    wanted = [5 - 12 * (j / 15) ** exponent for j in range(16)]
    for head in range(4):
        np.testing.assert_allclose(bias[1, head], wanted, rtol=1e-5, atol=1e-5)
    assert not bias[[0, 2, 3]].any()


def test_a_single_slstm_block_is_the_first():
    bias = initial(ModelConfig(features=16, pattern="s"))["blocks"][0]["bias"]
    np.testing.assert_allclose(bias[1, 0], [5 - 12 * (j / 3) ** 0.3 for j in range(4)], rtol=1e-5)


def test_recurrent_kernel_and_norms(params):
    for index in (1, 2):
        assert not params["blocks"][index]["recurrent"].any()
    ones = [params["norm"]["scale"], params["blocks"][0]["skip"]]
    ones += [block[name]["scale"] for block in params["blocks"].values() for name in ("norm", "head_norm")]
    assert all((leaf == 1).all() for leaf in ones)


def test_embedding_std_and_seed():
    config = ModelConfig(vocab_size=300, features=64, pattern="r", embedding_std=1.0)
    params, other = initial(config), initial(config, seed=1)
    assert_normal(params["embedding"]["embedding"], 1.0)
    assert_normal(params["head"]["kernel"], math.sqrt(2 / (5 * 64)))
    assert np.abs(params["embedding"]["embedding"] - other["embedding"]["embedding"]).max() > 0.1
    again = initial(config)
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(again), strict=True))
