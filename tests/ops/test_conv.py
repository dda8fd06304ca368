"""Causal depthwise convolution against a NumPy loop, and its carry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.ops.conv import causal_conv

B, T, D, W = 3, 9, 4, 4
RESET = np.zeros((B, T), bool)
RESET[0, [3, 4]] = RESET[1, [0, 8]] = True
FULL, LENGTHS = np.full(B, T), np.array([9, 5, 2])  # 2 is shorter than the W - 1 steps of the carry


@jax.jit
def run(x, kernel, bias, carry, reset, lengths):
    return causal_conv(x, kernel, bias, carry_BWD=carry, reset_BT=reset, lengths_B=lengths)


def arrays(dtype=np.float64):
    rng = np.random.default_rng(0)
    shapes = (B, T, D), (W, D), (D,), (B, W - 1, D)
    return tuple(jnp.asarray(rng.standard_normal(shape), dtype) for shape in shapes)


def loop(x, kernel, bias, carry, reset, lengths):
    """y_t = bias + sum_w kernel_w x_{t - (W-1) + w}, one step at a time over a window that a reset empties."""
    y, last = np.zeros(x.shape), np.zeros((x.shape[0], kernel.shape[0] - 1, x.shape[2]))
    for b in range(x.shape[0]):
        window = [np.asarray(row) for row in carry[b]]
        for t in range(x.shape[1]):
            if t == lengths[b]:
                break
            if reset[b, t]:
                window = [np.zeros(x.shape[2])] * len(window)
            window.append(np.asarray(x[b, t]))
            y[b, t] = bias + sum(kernel[w] * window[w] for w in range(kernel.shape[0]))
            window.pop(0)
        if window:
            last[b] = np.stack(window)
    return y, last


@pytest.mark.parametrize("lengths", [FULL, LENGTHS], ids=["full", "padded"])
@pytest.mark.parametrize("reset", [np.zeros_like(RESET), RESET], ids=["no reset", "reset"])
def test_equals_loop(reset, lengths, x64):
    """Outputs at real steps, and the last inputs of each sequence, with a given carry."""
    y, last = run(*arrays(), reset, lengths)
    wanted, wanted_last = loop(*arrays(), reset, lengths)
    inside = np.arange(T) < lengths[:, None]
    np.testing.assert_allclose(np.asarray(y)[inside], wanted[inside], rtol=0, atol=1e-13)
    np.testing.assert_array_equal(last, wanted_last)


@pytest.mark.parametrize("width", [1, 2, 12])
def test_arguments_left_out(width, x64):
    """A missing carry is zeros; a kernel may be one step wide, or wider than the sequence."""
    x, _, bias, _ = arrays()
    kernel = jnp.asarray(np.random.default_rng(1).standard_normal((width, D)))
    y, last = jax.jit(causal_conv)(x, kernel, bias)
    wanted, wanted_last = loop(x, kernel, bias, np.zeros((B, width - 1, D)), np.zeros_like(RESET), FULL)
    np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-13)
    np.testing.assert_array_equal(last, wanted_last)


@pytest.mark.parametrize("cut", [1, 2, 5])
def test_split(cut, x64):
    """T = T1 + T2 with the carry passed on, T1 shorter and longer than the carry, resets on both sides."""
    x, kernel, bias, carry = arrays()
    first, middle = run(x[:, :cut], kernel, bias, carry, RESET[:, :cut], np.minimum(LENGTHS, cut))
    second, last = run(x[:, cut:], kernel, bias, middle, RESET[:, cut:], np.maximum(LENGTHS - cut, 0))
    y, wanted = run(x, kernel, bias, carry, RESET, LENGTHS)
    inside = np.arange(T) < LENGTHS[:, None]
    got = np.concatenate([first, second], axis=1)
    np.testing.assert_allclose(got[inside], np.asarray(y)[inside], rtol=0, atol=1e-13)
    np.testing.assert_array_equal(last, wanted)


def test_padding_changes_nothing(x64):
    """Finite garbage after a sequence's end reaches neither its outputs nor its carry."""
    x, kernel, bias, carry = arrays()
    inside = np.arange(T) < LENGTHS[:, None]
    y, last = run(x, kernel, bias, carry, RESET, LENGTHS)
    other, same = run(jnp.where(inside[..., None], x, 1e3), kernel, bias, carry, RESET, LENGTHS)
    np.testing.assert_array_equal(np.asarray(y)[inside], np.asarray(other)[inside])
    np.testing.assert_array_equal(last, same)


def test_a_nan_in_the_padding_reaches_no_gradient(x64):
    """It does not reach earlier values or the returned carry either."""
    x, kernel, bias, carry = arrays()
    padding_BT = np.arange(T) >= LENGTHS[:, None]
    x = jnp.where(padding_BT[..., None], jnp.nan, x)

    def loss(*args):
        y, last = run(*args, RESET, LENGTHS)
        return jnp.sum(jnp.where(padding_BT[..., None], 0, y)) + jnp.sum(last)

    value, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2, 3))(x, kernel, bias, carry)
    assert np.isfinite(value) and all(np.isfinite(gradient).all() for gradient in gradients)
    assert not np.asarray(gradients[0])[padding_BT].any()


def test_gradients_equal_finite_differences(x64):
    """Gradients of x, kernel, bias and carry, from outputs and last inputs; none crosses a reset."""
    rng, given = np.random.default_rng(2), arrays()
    weights = jax.tree.map(lambda a: jnp.asarray(rng.standard_normal(a.shape)), run(*given, RESET, LENGTHS))

    @jax.jit
    def loss(*args):
        return sum(jnp.vdot(a, b) for a, b in zip(run(*args, RESET, LENGTHS), weights, strict=True))

    gradients = jax.jit(jax.grad(loss, argnums=(0, 1, 2, 3)))(*given)
    for index, gradient in enumerate(gradients):
        direction, step = jnp.asarray(rng.standard_normal(gradient.shape)), 1e-4
        moved = [[a + sign * step * direction if n == index else a for n, a in enumerate(given)] for sign in (1, -1)]
        difference = (loss(*moved[0]) - loss(*moved[1])) / (2 * step)
        assert float(jnp.vdot(gradient, direction)) == pytest.approx(float(difference), rel=1e-8)

    @jax.jit
    def after(x, carry):
        return jnp.sum(run(x, *given[1:3], carry, RESET, FULL)[0][0, 4:])

    dx, dcarry = jax.jit(jax.grad(after, argnums=(0, 1)))(given[0], given[3])
    assert not np.asarray(dx[0, :4]).any() and np.asarray(dx[0, 4:]).all() and not np.asarray(dcarry).any()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float32])
def test_dtype_is_x_dtype(dtype):
    """Parameters are float32; outputs and carry have the dtype of x, also in x64 mode."""
    x, kernel, bias, carry = arrays(np.float32)
    for wide in (False, True):
        with jax.enable_x64(wide):
            y, last = jax.eval_shape(run, x.astype(dtype), kernel, bias, carry, RESET, LENGTHS.astype(np.int32))
        assert y.dtype == last.dtype == dtype
