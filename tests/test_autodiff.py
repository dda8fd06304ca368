"""Hand-written backward passes: plain code under `forward_mode`, a clear error elsewhere, nothing in programs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from tests.ops.meshes import mesh
from xlstm_jax.autodiff import custom_vjp, forward_mode, in_forward_mode
from xlstm_jax.errors import UsageError
from xlstm_jax.sharding import varying

X = jnp.arange(1.0, 5.0)


def made(vjp):
    """sum_n n x_n^2 with a non-differentiable exponent; its hand-written gradient is wrong by a factor of 10."""

    @vjp
    def weighted(power, x, weights):
        return jnp.sum(weights * x**power)

    weighted.defvjp(
        lambda power, x, weights: (weighted(power, x, weights), (x, weights)),
        lambda power, residuals, g: (g * 10 * residuals[1] * residuals[0], None),
    )
    return lambda x: weighted(2, x, jnp.arange(4.0))


ours = made(custom_vjp("a sum", instead="a loop", nondiff_argnums=(0,)))
jaxs = made(lambda body: jax.custom_vjp(body, nondiff_argnums=(0,)))


def test_plain_code_under_forward_mode_alone():
    """Also if compiled before: the context is part of jit's key."""
    gradient, by_hand, plain = jax.jit(jax.grad(ours)), 10 * jnp.arange(4.0) * X, 2 * jnp.arange(4.0) * X
    traces = []
    inside = jax.jit(lambda x: (traces.append(1), jax.grad(ours)(x))[1])
    for _ in range(2):
        np.testing.assert_allclose(gradient(X), by_hand)
        np.testing.assert_allclose(inside(X), by_hand)
        with forward_mode():
            assert in_forward_mode()
            with forward_mode(False):
                np.testing.assert_allclose(gradient(X), plain)
            np.testing.assert_allclose(inside(X), plain)
            np.testing.assert_allclose(jax.hessian(ours)(X), jnp.diag(2 * jnp.arange(4.0)))
        assert not in_forward_mode()
    assert len(traces) == 2


def within(x):
    with forward_mode():
        return ours(x)


def test_the_context_may_stand_inside():
    np.testing.assert_allclose(jax.jit(jax.hessian(within))(X), jnp.diag(2 * jnp.arange(4.0)))


@pytest.mark.parametrize(
    "derivative",
    [
        lambda f: jax.jvp(f, (X,), (X,)),
        lambda f: jax.jvp(jax.jit(f), (X,), (X,)),
        lambda f: jax.jit(lambda x: jax.jvp(f, (x,), (x,)))(X),
        lambda f: jax.jacfwd(f)(X),
        lambda f: jax.jit(jax.jacfwd(f))(X),
        lambda f: jax.linearize(f, X)[1](X),
        lambda f: jax.jvp(lambda x: jax.lax.scan(lambda c, _: (c * f(x), None), 1.0, None, 3)[0], (X,), (X,)),
        lambda f: jax.jvp(jax.checkpoint(f), (X,), (X,)),
    ],
)
def test_forward_mode_elsewhere_is_refused(derivative):
    with pytest.raises(UsageError, match=r"^forward-mode .* at a sum, .*; use a loop, or .*forward_mode\(\)"):
        derivative(ours)
    with pytest.raises(TypeError, match="custom_vjp"):  # jax's error, which ours replaces
        derivative(jaxs)


def test_constants_are_no_matter():
    np.testing.assert_allclose(jax.jvp(lambda y: ours(X) * y, (2.0,), (1.0,))[1], ours(X))


@pytest.mark.parametrize("transform", [lambda f: f, jax.grad, jax.vmap, lambda f: jax.vmap(jax.grad(f))])
def test_programs_are_those_of_jaxs_own(transform):
    """Also with gradients of gradients, `jax.checkpoint` or a scan."""

    def text(f):
        def run(x):
            def body(carry, _):
                return carry + jax.checkpoint(f)(carry * x), None

            return jax.lax.scan(body, jnp.float32(1), None, 3)[0]

        args = X if transform in (jax.grad,) or transform(len) is len else jnp.stack([X, X])
        return jax.jit(transform(run)).lower(args).as_text()

    assert text(ours) == text(jaxs)


def test_reverse_alone():
    refused = made(custom_vjp("a kernel", instead="a loop", reverse_alone=True, nondiff_argnums=(0,)))
    np.testing.assert_allclose(jax.grad(refused)(X), jax.grad(jaxs)(X))
    with forward_mode(), pytest.raises(UsageError, match=r"^forward_mode does not cover a kernel; use a loop$"):
        refused(X)
    # If `forward_mode` would raise in any case, the error elsewhere does not suggest it.
    unavoidable = made(custom_vjp("a norm", instead="another", reverse_alone=True, hint=False, nondiff_argnums=(0,)))
    with pytest.raises(UsageError, match=r"^forward-mode .* at a norm, ") as caught:
        jax.jvp(unavoidable, (X,), (X,))
    assert str(caught.value).endswith("a custom backward pass; use another")


def test_varying():
    """Its gradient is the sum over devices; outside `jax.shard_map` it returns its argument."""
    assert varying((X, None), X)[0] is X

    def inside(x, w):
        def loss(w):
            start, weight = varying((jnp.zeros(()), w), x)
            assert jax.typeof(start).manual_axis_type.varying == {"data"}
            return jax.lax.scan(lambda carry, x: (carry + weight * x, None), start, x)[0]

        return jax.value_and_grad(loss)(w)

    run = jax.shard_map(inside, mesh=mesh(data=2), in_specs=(P("data"), P()), out_specs=(P(), P()), check_vma=True)
    with pytest.raises(ValueError, match="out_specs"):  # each device has a different loss
        run(X, jnp.float32(2))

    def gradient(x, w):
        return inside(x, w)[1]

    run = jax.shard_map(gradient, mesh=mesh(data=2), in_specs=(P("data"), P()), out_specs=P())
    np.testing.assert_allclose(jax.jit(run)(X, jnp.float32(2)), 10)
