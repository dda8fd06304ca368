"""The CRF op against a list of all paths in float64: values, gradients, Viterbi, lengths, impossible tags."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.numeric import LIMITS, error
from tests.oracles import crf as oracle
from xlstm_jax.errors import UsageError
from xlstm_jax.ops import crf
from xlstm_jax.ops.crf import IMPLEMENTATIONS, CRFWeights, log_likelihood

each_implementation = pytest.mark.parametrize("implementation", list(IMPLEMENTATIONS))
log_partition, marginals = (jax.jit(f, static_argnames="implementation") for f in (crf.log_partition, crf.marginals))
viterbi = jax.jit(crf.viterbi)
TAGS, TIME, LENGTHS = 4, 6, np.array([6, 3, 1, 0, 5], np.int32)


@functools.cache
def case(scale: float = 1.0, seed: int = 0, forbidden: bool = False):
    """Emissions [B, T, A], weights and tags [B, T], float32; with `forbidden`, a fifth of the weights is -inf."""
    rng = np.random.default_rng(seed)
    draw = lambda *shape: scale * rng.standard_normal(shape).astype(np.float32)  # noqa: E731
    emissions, weights = draw(len(LENGTHS), TIME, TAGS), [draw(TAGS, TAGS), draw(TAGS), draw(TAGS)]
    if forbidden:
        # No tag follows itself, nothing starts with tag 1, nothing ends with tag 3.
        np.fill_diagonal(weights[0], -np.inf)
        weights[1][1] = weights[2][3] = -np.inf
    tags = np.tile(np.array([0, 2, 1], np.int32), (len(LENGTHS), TIME // 3))
    return emissions, CRFWeights(*weights), tags


def rows(emissions, weights):
    """Arguments of the oracle for each row."""
    wide = [np.asarray(leaf, np.float64) for leaf in weights]
    return [(np.asarray(row[:length], np.float64), *wide) for row, length in zip(emissions, LENGTHS, strict=True)]


@functools.cache
def compiled(implementation):
    """Log-likelihoods, and their gradients weighted by row."""

    def run(emissions, tags, weights, row_B):
        def total(emissions, weights):
            value_B = log_likelihood(emissions, tags, weights, lengths_B=LENGTHS, implementation=implementation)
            return jnp.sum(value_B * row_B), value_B

        return jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(emissions, weights)

    return jax.jit(run)


@each_implementation
@pytest.mark.parametrize("forbidden", [False, True])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("scale", [1.0, 200.0])  # the strong scores differ by more than exp can hold
def test_log_likelihood_and_gradients(scale, dtype, forbidden, implementation):
    """d log p(y) / d e_t(a) = [y_t = a] - p(y_t = a); of a transition: its count in y less the expected one."""
    emissions, weights, tags = case(scale, forbidden=forbidden)
    emissions = jnp.asarray(emissions).astype(dtype)
    row_B = np.arange(1, 6, dtype=np.float32)
    (_, value_B), (de, dw) = compiled(implementation)(emissions, tags, weights, row_B)
    assert value_B.dtype == jnp.float32 and de.dtype == emissions.dtype
    wanted_e, wanted_w = np.zeros(emissions.shape), np.zeros((TAGS, TAGS))
    wanted_B = np.zeros(len(LENGTHS))
    for b, (length, args) in enumerate(
        zip(LENGTHS, rows(np.asarray(emissions.astype("float32")), weights), strict=True)
    ):
        every, scores = oracle.paths(*args)
        (own,) = scores[(every == tags[b, :length]).all(axis=1)]
        wanted_B[b] = own - oracle.log_sum(scores)
        wanted_e[b, :length] = row_B[b] * (np.eye(TAGS)[tags[b, :length]] - oracle.marginals(*args))
        wanted_w -= row_B[b] * oracle.moves(*args)
        for pair in zip(tags[b, : length - 1], tags[b, 1:length], strict=False):
            wanted_w[pair] += row_B[b] if length else 0
    outputs, gradients = LIMITS["float32"]
    assert error(np.asarray(value_B, np.float64), wanted_B) < outputs
    assert error(np.asarray(de.astype("float32"), np.float64), wanted_e) < (gradients if dtype == "float32" else 1e-2)
    assert error(np.asarray(dw.transitions_AA, np.float64), wanted_w) < gradients
    assert np.isfinite(dw.start_A).all() and np.isfinite(dw.end_A).all()


@each_implementation
@pytest.mark.parametrize("forbidden", [False, True])
def test_marginals(forbidden, implementation):
    emissions, weights, _ = case(forbidden=forbidden)
    got = np.asarray(marginals(emissions, weights, lengths_B=LENGTHS, implementation=implementation), np.float64)
    for row, length, args in zip(got, LENGTHS, rows(emissions, weights), strict=True):
        assert not row[length:].any()
        if length:
            assert error(row[:length], oracle.marginals(*args)) < LIMITS["float32"][0]


@pytest.mark.parametrize("forbidden", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_viterbi(seed, forbidden):
    emissions, weights, _ = case(seed=seed, forbidden=forbidden)
    tags, score = viterbi(emissions, weights, lengths_B=LENGTHS)
    for row, got, length, args in zip(tags, score, LENGTHS, rows(emissions, weights), strict=True):
        every, scores = oracle.paths(*args)
        np.testing.assert_array_equal(row[:length], every[scores.argmax()])
        assert not row[length:].any() and got == pytest.approx(scores.max(), rel=1e-6)


def test_viterbi_of_equal_scores_takes_the_lower_tags():
    nothing = CRFWeights(*(np.zeros(shape, np.float32) for shape in ((3, 3), 3, 3)))
    tags, score = viterbi(np.zeros((1, 4, 3), np.float32), nothing)
    assert not tags.any() and score == 0


@each_implementation
def test_impossible_rows(implementation):
    """An impossible path has log p = -inf, a row without possible paths log Z = -inf; gradients stay finite."""
    emissions, weights, _ = case(forbidden=True)
    tags = np.zeros((len(LENGTHS), TIME), np.int32)  # no tag may follow itself
    (_, value_B), gradients = compiled(implementation)(emissions, tags, weights, np.ones(5, np.float32))
    assert np.isneginf(np.asarray(value_B)[[0, 1, 4]]).all() and np.isfinite(np.asarray(value_B)[2:4]).all()
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradients))
    shut = CRFWeights(np.full((TAGS, TAGS), -np.inf, np.float32), *weights[1:])
    log_z = log_partition(emissions, shut, lengths_B=LENGTHS, implementation=implementation)
    assert np.isneginf(np.asarray(log_z)[[0, 1, 4]]).all() and log_z[3] == 0
    assert np.isneginf(np.asarray(viterbi(emissions, shut, lengths_B=LENGTHS)[1])[[0, 1, 4]]).all()
    assert np.isfinite(marginals(emissions, shut, lengths_B=LENGTHS, implementation=implementation)).all()


@each_implementation
def test_padding_has_no_effect(implementation):
    emissions, weights, tags = case()
    spoilt, there = emissions.copy(), np.arange(TIME) < LENGTHS[:, None]
    spoilt[~there] = np.nan
    wanted, got = (
        compiled(implementation)(e, np.where(there, tags, 3), weights, np.ones(5, np.float32))
        for e in (emissions, spoilt)
    )
    jax.tree.map(np.testing.assert_array_equal, got, wanted)
    assert not np.asarray(got[1][0])[~there].any()


@each_implementation
@pytest.mark.parametrize("time", [1, 2, 7, 12])
def test_probabilities_of_a_chain_of_any_length_add_to_one(time, implementation):
    """With one transition matrix of probabilities and no emissions, Z is 1."""
    rng = np.random.default_rng(time)
    p = rng.dirichlet(np.ones(TAGS), TAGS + 1).astype(np.float32)
    weights = CRFWeights(np.log(p[1:]), np.log(p[0]), np.zeros(TAGS, np.float32))
    log_z = log_partition(np.zeros((1, time, TAGS), np.float32), weights, implementation=implementation)
    assert abs(float(log_z[0])) < 1e-5


def test_float64():
    emissions, weights = jax.tree.map(lambda a: a.astype(np.float64), case()[:2])
    with jax.enable_x64(True):
        args = jax.tree.map(jnp.asarray, (emissions, weights))
        for name in IMPLEMENTATIONS:
            got = np.asarray(log_partition(*args, lengths_B=LENGTHS, implementation=name))
            wanted = [oracle.log_sum(oracle.paths(*one)[1]) for one in rows(emissions, weights)]
            assert got.dtype == np.float64 and error(got, np.array(wanted)) < 1e-14


def test_nothing():
    """No rows, no steps: log Z of the empty path is 0."""
    _, weights, _ = case()
    assert log_partition(np.zeros((0, 3, TAGS), np.float32), weights).shape == (0,)
    empty = np.zeros((2, 0, TAGS), np.float32)
    assert not log_partition(empty, weights).any() and viterbi(empty, weights)[0].shape == (2, 0)
    assert not log_likelihood(empty, np.zeros((2, 0), np.int32), weights).any()


def test_errors():
    emissions, weights, tags = case()
    with pytest.raises(UsageError, match=r"crf implementation 'fast' is unknown; known: scan, associative"):
        log_partition(emissions, weights, implementation="fast")
    with pytest.raises(UsageError, match=r"log_partition got .*transitions \[A,A\].*A = 4, not 3"):
        log_partition(emissions[:, :, :3], weights)
    with pytest.raises(UsageError, match=r"wanted integers, token numbers"):
        log_likelihood(emissions, tags.astype(np.float32), weights)
