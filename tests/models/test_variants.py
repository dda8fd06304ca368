"""Blocks with options as in ablations: each has the properties of every block and computes what it claims."""

import dataclasses
import re

import jax
import numpy as np
import pytest

from tests.models import oracle
from tests.models.examples import FEATURES, MLSTM, SLSTM, VOCABULARY, error, example, small
from tests.models.test_init import initial
from xlstm_jax.errors import UsageError
from xlstm_jax.models import build_model
from xlstm_jax.models.blocks.mlstm import MLSTMBlockConfig
from xlstm_jax.models.blocks.recurrent import RecurrentBlockConfig

BATCH, TIME, HALF = 3, 12, 6
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (BATCH, TIME), np.int32)
OTHER = (TOKENS + 1) % VOCABULARY
RESIDUAL = RecurrentBlockConfig(norm="layer", residual=True, ffn_factor=1.3)


def mlstm(**changes):
    """In the form that compiles fastest; these options belong to the block, not to the op."""
    return small("m", mlstm=dataclasses.replace(MLSTM, implementation="recurrent", **changes))


def slstm(**changes):
    return small("s", slstm=dataclasses.replace(SLSTM, **changes))


def recurrent(**changes):
    return small("r", recurrent=dataclasses.replace(RecurrentBlockConfig(), **changes))


VARIANTS = {
    "mlstm, no gate sees the input": mlstm(input_gate_form="bias", forget_gate_form="bias"),
    "mlstm, input gate alone": mlstm(forget_gate_form="fixed"),
    "mlstm, post up-projection": mlstm(proj_factor=1.0, ffn_factor=1.3),
    "slstm, pre up-projection": slstm(proj_factor=2.0, ffn_factor=0.0),
    "lstm, norm": recurrent(norm="rms"),
    "lstm, batch norm": recurrent(norm="batch"),
    "lstm, residual": recurrent(norm="layer", residual=True),
    "lstm, feed-forward layer": small("r", recurrent=RESIDUAL),
    "lstm, zoneout": recurrent(dropout=0.25, dropout_kind="zoneout"),
}
every = pytest.mark.parametrize("config", VARIANTS.values(), ids=VARIANTS)


def run(config, tokens, carry=None, reset=None, lengths=None):
    """Resets and lengths are always arrays, so that all tests of a variant share its programs."""
    made = example(config)
    carry = made.model().init_carry(len(tokens)) if carry is None else carry
    reset = np.zeros(tokens.shape, bool) if reset is None else reset
    lengths = np.full(len(tokens), tokens.shape[1]) if lengths is None else lengths
    logits, carry = made.unroll(made.params, tokens, carry, reset, lengths)
    return np.asarray(logits), carry


@every
def test_causal_and_whole_in_halves(config):
    whole, _ = run(config, TOKENS)
    changed, _ = run(config, np.where(np.arange(TIME) >= HALF, OTHER, TOKENS))
    assert error(changed[:, :HALF], whole[:, :HALF]) <= 1e-6
    assert np.abs(changed - whole)[:, HALF:].max(axis=-1).min() > 1e-4
    first, middle = run(config, TOKENS[:, :HALF])
    second, _ = run(config, TOKENS[:, HALF:], middle)
    assert error(np.concatenate([first, second], axis=1), whole) <= 1e-5


@every
def test_packed_is_alone_and_padding_is_nothing(config):
    """After a reset, a row is as if read alone; a short row is as without its padding."""
    reset, lengths = np.zeros((BATCH, TIME), bool), np.array([TIME, TIME, HALF])
    reset[0, HALF] = True
    logits, carry = run(config, TOKENS, reset=reset, lengths=lengths)
    first, short = run(config, TOKENS[:, :HALF])
    second, fresh = run(config, TOKENS[:, HALF:])
    assert error(logits[0], np.concatenate([first[0], second[0]])) <= 1e-5
    assert error(logits[2, :HALF], first[2]) <= 1e-5
    for row, wanted in ((0, fresh), (2, short)):
        for got, leaf in zip(jax.tree.leaves(carry), jax.tree.leaves(wanted), strict=True):
            np.testing.assert_allclose(got[row], leaf[row], rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@every
def test_gradients(config):
    """They reach every parameter except a fixed bias, whose gradient is exactly zero."""
    made = example(config)

    def loss(params):
        return (made.model(params)(TOKENS) ** 2).sum()

    gradients = jax.jit(jax.grad(loss))(made.params)
    block = gradients["blocks"][0]
    if "gates" in block:
        for part, form in zip(
            np.split(np.asarray(block["gates"]["bias"]), 2),
            (config.options(MLSTMBlockConfig).input_gate_form, config.options(MLSTMBlockConfig).forget_gate_form),
            strict=True,
        ):
            assert part.any() != (form == "fixed")
    for path, leaf in jax.tree_util.tree_leaves_with_path(gradients):
        assert np.isfinite(leaf).all() and np.asarray(leaf).any(), jax.tree_util.keystr(path)


def block_params(config):
    made = example(config)
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), made.params), made


def stacked(config, block):
    """(logits of the model, logits of an oracle whose only block is `block(p, x)`)."""
    params, made = block_params(config)
    x = block(params["blocks"][0], params["embedding"]["embedding"][TOKENS])
    x = oracle.normalized(x, params["norm"]["scale"])
    return made.unroll(made.params, TOKENS)[0], x @ params["head"]["kernel"]


def test_post_up_projection_of_an_mlstm():
    """The mLSTM at the model's width, then a feed-forward branch."""
    config = mlstm(proj_factor=1.0, ffn_factor=1.3)
    got, wanted = stacked(config, lambda p, x: oracle.feed_forward(p, oracle.mlstm_block(p, x, 2)))
    assert error(got, wanted) <= 1e-5


def test_a_gate_without_its_map():
    """Equal to a gate whose map is zero."""
    config = mlstm(input_gate_form="bias")
    heads = MLSTM.num_heads

    def block(p, x):
        kernel = p["gates"]["kernel"]
        assert kernel.shape == (3 * 2 * FEATURES, heads)
        both = np.concatenate([np.zeros_like(kernel), kernel], axis=1)
        return oracle.mlstm_block({**p, "gates": {"kernel": both, "bias": p["gates"]["bias"]}}, x, heads)

    got, wanted = stacked(config, block)
    assert error(got, wanted) <= 1e-5
    none = initial(mlstm(input_gate_form="fixed", forget_gate_form="fixed"))["blocks"][0]["gates"]
    assert set(none) == {"bias"}


def test_starting_biases_of_gates():
    gates = {"input_bias_mean": -10.0, "input_bias_std": 0.0, "forget_bias_low": 1.0, "forget_bias_high": 2.0}
    bias = initial(mlstm(**gates))["blocks"][0]["gates"]["bias"]
    np.testing.assert_allclose(bias, [-10, -10, 1, 2])


def test_pre_up_projection_of_an_slstm():
    """Twice the model's width inside, and one branch."""
    params = initial(slstm(proj_factor=2.0, ffn_factor=0.0))["blocks"][0]
    inner, heads = 2 * FEATURES, SLSTM.num_heads
    assert params["up"]["kernel"].shape == (FEATURES, 2 * inner) and params["down"]["kernel"].shape == (inner, FEATURES)
    assert params["recurrent"].shape == (4, heads, inner // heads, inner // heads)
    assert not {"ffn", "ffn_norm"} & set(params)

    def block(p, x):
        a, z = np.split(oracle.normalized(x, p["norm"]["scale"]) @ p["up"]["kernel"], 2, axis=-1)
        return x + (oracle.slstm_mixed(p, a, heads) * oracle.silu(z)) @ p["down"]["kernel"]

    got, wanted = stacked(slstm(proj_factor=2.0, ffn_factor=0.0), block)
    assert error(got, wanted) <= 1e-5


def lstm(p, x):
    """Gates i, f, z, o, concatenated."""
    layer = p["layer"]["layers"][0]
    c = h = np.zeros((*x.shape[:1], FEATURES))
    y = []
    for t in range(x.shape[1]):
        i, f, z, o = np.split(x[:, t] @ layer["w_x"] + h @ layer["w_h"] + layer["b"], 4, axis=-1)
        c = c / (1 + np.exp(-f)) + np.tanh(z) / (1 + np.exp(-i))
        h = np.tanh(c) / (1 + np.exp(-o))
        y.append(h)
    return np.stack(y, axis=1)


def test_an_lstm_in_residual_branches():
    def block(p, x):
        return oracle.feed_forward(p, x + lstm(p, oracle.normalized(x, p["norm"]["scale"])))

    got, wanted = stacked(small("r", recurrent=RESIDUAL), block)
    assert error(got, wanted) <= 1e-5


def test_options_reach_the_cell():
    weights = initial(recurrent(options="forget_bias=5, recurrent_init=identity"))["blocks"][0]["layer"]["layers"][0]
    np.testing.assert_array_equal(np.split(weights["b"], 4), np.repeat([[0.0], [5.0], [0.0], [0.0]], FEATURES, axis=1))
    np.testing.assert_array_equal(weights["w_h"], np.tile(np.eye(FEATURES), 4))


@pytest.mark.parametrize(
    ("cell", "options", "message"),
    [
        ("gru", "forget_bias=5", "cell 'gru' has no option 'forget_bias'; its options: bias, recurrent_init"),
        ("gru", "forget_bias=1.0", "cell 'gru' has no option 'forget_bias'"),
        ("lstm", "forget_bias=high", "model.recurrent.options.forget_bias 'high' is not allowed; give a number"),
        ("lstm", "recurrent_init=zero", "model.recurrent.options.recurrent_init 'zero' is not allowed"),
        ("lstm", "bias=2", "model.recurrent.options.bias '2' is not allowed; give True or False"),
        ("lstm", "forget_bias", "'forget_bias' is not allowed; write name=value"),
        ("lstm", "features=7", "cell 'lstm' has no option 'features'"),
        ("lstm", "bias=True,bias=False", "has bias twice"),
    ],
)
def test_options_that_a_cell_lacks(cell, options, message):
    """Refused for every value, by the given name."""
    with pytest.raises(UsageError, match=re.escape(message)) as caught:
        build_model(recurrent(cell=cell, options=options))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", ["variational", "recurrent", "zoneout"])
def test_dropout_inside(kind):
    """Active only with a key; without one, zoneout uses the mean of old and new, unlike the layer without it."""
    made = example(recurrent(dropout=0.5, dropout_kind=kind))
    plain, _ = example(recurrent()).unroll(made.params, TOKENS)
    still, _ = made.unroll(made.params, TOKENS)
    first, other = (made.unroll(made.params, TOKENS, key=jax.random.key(seed))[0] for seed in (0, 1))
    assert error(first, still) > 0.05 and error(other, first) > 0.05
    assert (error(still, plain) > 0.05) == (kind == "zoneout")


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("recurrent", {"ffn_factor": 1.3}, "model.recurrent.ffn_factor 1.3 needs model.recurrent.residual=True"),
        ("recurrent", {"ffn_factor": -1.0, "residual": True}, "model.recurrent.ffn_factor -1.0 is not allowed"),
        ("mlstm", {"ffn_factor": -1.0}, "model.mlstm.ffn_factor -1.0 is not allowed; must be at least 0"),
        ("slstm", {"proj_factor": -1.0}, "model.slstm.proj_factor -1.0 is not allowed"),
        ("slstm", {"proj_factor": 1.1}, "does not fit slstm.num_heads 4; the inner width 18"),
    ],
)
def test_options_that_cannot_be(section, changes, message):
    options = {"mlstm": MLSTM, "slstm": SLSTM, "recurrent": RecurrentBlockConfig()}[section]
    with pytest.raises(UsageError, match=re.escape(message)):
        build_model(small(section[0], **{section: dataclasses.replace(options, **changes)}))
