"""Arguments passed to cuDNN's LSTM and use of its results, with jax's reference in its place."""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.experimental import rnn

from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence import cudnn as module
from xlstm_jax.ops.recurrence import recurrence
from xlstm_jax.testing.compare import assert_close, normal_like
from xlstm_jax.testing.examples import BATCH, examples

T = 6
SHORTEST = []  # smallest length of each call of the stand-in
EXAMPLES = {example.name: example for example in examples()}


def lstm(x_BTD, h, c, weights, lengths_B, inputs, features, layers, dropout, bidirectional, precision):
    """`rnn.lstm` in plain JAX. cuDNN accepts no empty sequences and makes no promise about padding."""
    assert precision == "highest"
    jax.debug.callback(lambda least: SHORTEST.append(int(least)), jnp.min(lengths_B))
    sizes = inputs, features, layers
    parts = rnn.unpack_lstm_weights(weights, *sizes, bidirectional)
    y_BTF, h, c = rnn.lstm_ref(x_BTD, h, c, *parts, lengths_B, *sizes, dropout, bidirectional)
    empty, padding = lengths_B < 1, np.arange(T)[None] >= lengths_B[:, None]
    y_BTF = jnp.where((empty[:, None] | padding)[..., None], np.float32(np.nan), y_BTF)
    return y_BTF, *(jnp.where(empty[None, :, None], np.float32(np.nan), leaf) for leaf in (h, c))


@pytest.fixture
def stand_in(monkeypatch):
    """Makes jax look as if it had CUDA to this implementation."""
    there = types.SimpleNamespace(compute_rnn_workspace_reserve_space_sizes=None)
    monkeypatch.setattr(module, "rnn", types.SimpleNamespace(lstm=lstm, gpu_rnn=there))


@functools.partial(jax.jit, static_argnums=(0, 1, 2))
def run(cell, implementation, reverse, lengths, *given):
    """Outputs, last carry and gradients of params, x and the carry."""

    def forward(params, x, carry):
        options = {"lengths_B": lengths, "reverse": reverse, "implementation": implementation}
        return recurrence(cell, params, x, carry=carry, **options)

    outputs, pullback = jax.vjp(forward, *given)
    return outputs, pullback(normal_like(outputs, 6))


def both(name, reverse=False, lengths=None):
    """Results of cuDNN's stand-in and of the scan, in float32."""
    example = EXAMPLES[name]
    given = example.params(np.float32), example.inputs(T, np.float32), normal_like(example.start(np.float32), 5)
    return [run(example.cell, implementation, reverse, lengths, *given) for implementation in ("cudnn", "scan")]


@pytest.mark.parametrize("lengths", [None, (T, 4), (1, T), (0, 3)], ids=str)
@pytest.mark.parametrize("reverse", [False, True])
def test_equal_to_the_scan(reverse, lengths, stand_in):
    """Gate order, lengths and direction; an empty sequence outputs zero and keeps its carry."""
    SHORTEST.clear()
    got, wanted = both("lstm", reverse, None if lengths is None else np.array(lengths))
    assert_close(got, wanted, limit=1e-5)
    jax.effects_barrier()
    assert SHORTEST and min(SHORTEST) >= 1


def test_without_a_bias(stand_in):
    got, wanted = both("lstm-bias=False")
    assert_close(got, wanted, limit=1e-5)


def test_weights_are_packed_as_cudnn_has_them():
    """Each gate's matrices, transposed, in its place, and the biases in the first of its two."""
    params = EXAMPLES["lstm"].params(np.float32)
    sizes = params.config.in_features, params.config.features
    packed = module.packed(params)
    assert packed.size == rnn.get_num_params_in_lstm(*sizes, 1, False)
    w_x, w_h, b, rest = (part[0] for part in rnn.unpack_lstm_weights(packed, *sizes, 1, False))
    assert_close((w_x.T, w_h.T, b, rest), (params["w_x"], params["w_h"], params["b"], jnp.zeros_like(b)), limit=0)


@pytest.mark.parametrize(
    "name, dtype, options, message",
    [
        ("lstm_peephole", np.float32, {}, "covers the cell 'lstm', got PeepholeLSTM"),
        ("lstm", np.float32, {"reset_BT": np.zeros((BATCH, T), bool)}, "not support resets; use 'chunked' or 'scan'"),
        ("lstm", jnp.bfloat16, {}, "float32, got bfloat16"),
        ("lstm", np.float32, {}, "needs jax with CUDA on an NVIDIA GPU; use 'chunked' or 'scan'"),
    ],
)
def test_what_it_needs(name, dtype, options, message):
    """On CPU only the last reason remains."""
    example = EXAMPLES[name]
    arguments = example.params(dtype), example.inputs(T, dtype)
    with pytest.raises(UsageError, match=message):
        recurrence(example.cell, *arguments, implementation="cudnn", **options)
