"""Attention modules compared with the equations of the papers in NumPy, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import assert_gradient, called
from xlstm_jax.errors import UsageError
from xlstm_jax.nn import BahdanauAttention, LuongAttention
from xlstm_jax.nn.attention import attend

B, T, S, Q, V, F = 3, 2, 5, 4, 6, 7
LENGTHS = np.array([5, 2, 0])
RNG = np.random.default_rng(0)
QUERY_BTQ, QUERY_BTV, MEMORY_BSV = (RNG.standard_normal(shape) for shape in ((B, T, Q), (B, T, V), (B, S, V)))
KINDS = ("bahdanau", "dot", "general", "concat")
SCALE = 0.3  # of the scores dot and general


def softmax(score_BTS, lengths):
    """alpha_ts = exp(e_ts) / sum_k exp(e_tk) over the positions before the sequence's end; zeros if there are none."""
    there = np.broadcast_to(np.arange(S) < lengths[:, None, None], score_BTS.shape)
    e = np.where(there, np.exp(score_BTS), 0)
    return np.divide(e, e.sum(-1, keepdims=True), out=np.zeros_like(e), where=there)


def bahdanau(w, query_BTQ, memory_BSV, lengths):
    """Bahdanau et al. 2015, A.1.2: e_ij = v^T tanh(W s_i + U h_j); equation 6: its softmax; 5: c_i = sum_j a_ij h_j."""
    e = np.zeros((B, query_BTQ.shape[1], S))
    for b, t, s in np.ndindex(*e.shape):
        from_query, from_memory = w["query"]["kernel"].T @ query_BTQ[b, t], w["memory"]["kernel"].T @ memory_BSV[b, s]
        e[b, t, s] = w["v"] @ np.tanh(from_query + from_memory)
    a = softmax(e, lengths)
    return np.einsum("bts,bsv->btv", a, memory_BSV), a


def luong(kind, w, query_BTQ, memory_BSV, lengths):
    """Luong et al. 2015, equation 8: the three scores; 7: their softmax; 5: h~ = tanh(W_c [c; h])."""
    e = np.zeros((B, query_BTQ.shape[1], S))
    for b, t, s in np.ndindex(*e.shape):
        h_t, h_s = query_BTQ[b, t], memory_BSV[b, s]
        if kind == "dot":
            e[b, t, s] = SCALE * h_t @ h_s
        elif kind == "general":
            e[b, t, s] = SCALE * h_t @ w["memory"]["kernel"].T @ h_s
        else:
            both = np.concatenate([w["query"]["kernel"], w["memory"]["kernel"]])
            e[b, t, s] = w["v"] @ np.tanh(both.T @ np.concatenate([h_t, h_s]))
    a = softmax(e, lengths)
    context = np.einsum("bts,bsv->btv", a, memory_BSV)
    return np.tanh(np.concatenate([context, query_BTQ], axis=-1) @ w["out"]["kernel"]), a


def made(kind, dtype=jnp.float64):
    """(graphdef, parameters), query and memory, which have equal widths for "dot"."""
    query = QUERY_BTV if kind == "dot" else QUERY_BTQ
    options = {"dtype": dtype, "rngs": nnx.Rngs(0)}
    if kind == "bahdanau":
        module = BahdanauAttention(query.shape[-1], V, F, **options)
    else:
        module = LuongAttention(query.shape[-1], V, F, score=kind, scale=SCALE, **options)
    graphdef, state = nnx.split(module)
    return graphdef, nnx.to_pure_dict(state), query, MEMORY_BSV


@pytest.mark.parametrize("kind", KINDS)
def test_values(x64, kind):
    """With and without lengths; a query without a time axis equals one with a single step."""
    graphdef, params, query, memory = made(kind)
    run, w = called(graphdef), jax.tree.map(np.asarray, params)
    oracle = bahdanau if kind == "bahdanau" else lambda *args: luong(kind, *args)
    for lengths in (None, LENGTHS):
        out, weights = run(params, query, memory, lengths)
        wanted = oracle(w, query, memory, np.full(B, S) if lengths is None else lengths)
        assert out.dtype == weights.dtype == jnp.float64
        np.testing.assert_allclose(out, wanted[0], atol=1e-12)
        np.testing.assert_allclose(weights, wanted[1], atol=1e-12)
        sums = np.ones((B, T)) if lengths is None else np.broadcast_to((lengths > 0)[:, None], (B, T))
        np.testing.assert_allclose(weights.sum(axis=-1), sums, atol=1e-12)
        one = run(params, query[:, 0], memory, lengths)
        np.testing.assert_allclose(one[0], out[:, 0], atol=1e-12)
        np.testing.assert_allclose(one[1], weights[:, 0], atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_reaches_neither_values_nor_gradients(x64, kind):
    """Weights in the padding are zero, a memory of length 0 gives zeros, and NaNs in the padding have no effect."""
    graphdef, params, query, memory = made(kind)

    @jax.jit
    def run(params, query, memory):
        def loss(params, query, memory):
            out, weights = nnx.merge(graphdef, params)(query, memory, LENGTHS)
            return jnp.sum(jnp.sin(out)) + jnp.sum(weights**2), (out, weights)

        return jax.grad(loss, argnums=(0, 1, 2), has_aux=True)(params, query, memory)

    grads, (out, weights) = run(params, query, memory)
    behind = np.arange(S) >= LENGTHS[:, None]
    assert not np.asarray(weights).transpose(0, 2, 1)[behind].any()
    if kind == "bahdanau":
        assert not np.asarray(out)[2].any()
    assert not np.asarray(grads[2])[behind].any() and np.asarray(grads[2])[~behind].all()
    for garbage in (1e3, np.inf, np.nan):
        spoilt = np.where(behind[..., None], garbage, memory)
        jax.tree.map(np.testing.assert_array_equal, run(params, query, spoilt), (grads, (out, weights)))


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_against_finite_differences(x64, kind):
    """With respect to weights, query and memory together."""
    graphdef, params, query, memory = made(kind)

    def loss(point):
        params, query, memory = point
        out, weights = nnx.merge(graphdef, params)(query, memory, LENGTHS)
        return jnp.sum(jnp.sin(out)) + jnp.sum(jnp.sin(3 * weights))

    assert_gradient(loss, jax.tree.map(jnp.float64, (params, query, memory)))


def test_keys_made_once(x64):
    """Decoder steps with precomputed keys, which may be NaN after the end, equal one call with all queries."""
    graphdef, params, query, memory = made("bahdanau")
    run, keys = called(graphdef), nnx.merge(graphdef, params).keys(jnp.asarray(memory))
    np.testing.assert_allclose(keys, memory @ np.asarray(params["memory"]["kernel"]), atol=1e-12)
    whole = run(params, query, memory, LENGTHS)
    for t in range(T):
        out, weights = run(params, query[:, t], memory, LENGTHS, keys_BSF=keys)
        np.testing.assert_allclose(out, whole[0][:, t], atol=1e-12)
        np.testing.assert_allclose(weights, whole[1][:, t], atol=1e-12)
    # The keys are used: other keys give other weights.
    assert np.abs(run(params, query, memory, LENGTHS, keys_BSF=-keys)[1] - whole[1]).max() > 1e-3

    @jax.jit
    def gradients(query, keys):
        def loss(*given):
            return jnp.sum(jnp.sin(nnx.merge(graphdef, params)(given[0], memory, LENGTHS, keys_BSF=given[1])[0]))

        return jax.grad(loss, argnums=(0, 1))(query, keys)

    behind = (np.arange(S) >= LENGTHS[:, None])[..., None]
    jax.tree.map(
        np.testing.assert_array_equal, gradients(query, jnp.where(behind, jnp.nan, keys)), gradients(query, keys)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16(kind):
    """Outputs have the module's dtype for any input dtype; attention weights are float32."""
    graphdef, params, query, memory = made(kind, dtype=jnp.bfloat16)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} <= {jnp.dtype("float32")}
    query, memory = query.astype(np.float32), memory.astype(np.float32)
    out, weights = called(graphdef)(params, query, memory, LENGTHS)
    assert out.dtype == jnp.bfloat16 and weights.dtype == jnp.float32
    wanted, wanted_weights = called(made(kind, dtype=jnp.float32)[0])(params, query, memory, LENGTHS)
    np.testing.assert_allclose(np.asarray(out, np.float32), wanted, atol=6e-2)
    np.testing.assert_allclose(weights, wanted_weights, atol=6e-2)


def test_refusals_say_what_is_allowed():
    with pytest.raises(UsageError, match="score 'cosine' is unknown; allowed: 'dot', 'general', 'concat'"):
        LuongAttention(Q, V, F, score="cosine", rngs=nnx.Rngs(0))
    with pytest.raises(UsageError, match=f"score 'dot' needs equal widths, got {Q} and {V}; use 'general'"):
        LuongAttention(Q, V, F, score="dot", rngs=nnx.Rngs(0))


def test_scores_of_minus_infinity():
    """Masked positions have no effect. If all are masked, context and weights are zero and gradients finite."""
    score, memory = RNG.standard_normal((B, T, S)), MEMORY_BSV
    masked = RNG.random((B, T, S)) < 0.5
    masked[0, 0], masked[0, 1] = True, False
    score[masked] = -np.inf
    e = np.exp(score)
    weights = np.divide(e, e.sum(-1, keepdims=True), out=np.zeros_like(e), where=~masked)

    @jax.jit
    def run(score, memory):
        outputs, pullback = jax.vjp(attend, score, memory)
        return outputs, pullback(jax.tree.map(jnp.cos, outputs))

    (context, got), gradients = run(jnp.asarray(score, jnp.float32), jnp.asarray(memory, jnp.float32))
    np.testing.assert_allclose(got, weights, atol=1e-6)
    np.testing.assert_allclose(context, np.einsum("bts,bsv->btv", weights, memory), atol=1e-5)
    assert all(np.isfinite(a).all() for a in gradients) and not np.any(np.where(masked, gradients[0], 0))
