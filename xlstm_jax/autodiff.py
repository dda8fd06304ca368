"""Functions with hand-written backward passes, and a switch to plain code that has forward-mode derivatives.

In jax, a function with a custom backward pass has no forward mode: `jax.jvp`, `jax.jacfwd`, `jax.hessian` and
Hessian-vector products fail. Under `forward_mode` such functions run as plain JAX code, which jax differentiates in
either mode and to any order. Values are the same; time and memory of the backward pass are not.
"""

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from xlstm_jax.errors import UsageError
from xlstm_jax.sharding import varying

# A jax user context is part of the key of every cache of traced and compiled functions.
_FORWARD = jax.make_user_context(default_value=False)


def forward_mode(on: bool = True) -> AbstractContextManager:
    """A context in which all ops, layers and models have forward-mode derivatives of any order.

        with forward_mode():
            H = jax.hessian(loss)(params)

    It takes effect while a function is traced: enter it around the derivative, or inside the function to differentiate.
    A jitted function is compiled once with it and once without. The config key is `model.forward_mode`. `on=False`
    changes nothing.

    Kernels (implementations "pallas" and "cudnn") have no plain code. They raise `UsageError` if named, and are never
    chosen by default.
    """
    return _FORWARD(on or in_forward_mode())


def in_forward_mode() -> bool:
    """Whether `forward_mode` is on here."""
    return _FORWARD.value


class custom_vjp:
    """`jax.custom_vjp` with a plain form for `forward_mode`, and a clear error for forward mode outside of it.

        @custom_vjp("the chunkwise mLSTM", instead="implementation='recurrent'")
        def f(x): ...
        f.defvjp(forward, backward)

    Inside `jax.shard_map`, all arguments are made to vary over the mesh axes that any of them varies over, so
    `backward` may return a different gradient on each device. jax sums these if the argument was the same on all.

    Args:
        of: what the function is, for the error.
        instead: arguments with which the caller has forward mode without `forward_mode`; empty if there are none.
        plain: the function to run under `forward_mode`, with the same arguments; None is the function's own body.
        reverse_alone: there is no plain form, as for a kernel: calls under `forward_mode` raise.
        hint: whether the error suggests `forward_mode`. Kernels suggest it too, since an unnamed kernel is not
            chosen under it.
        nondiff_argnums: as for `jax.custom_vjp`.

    Raises:
        UsageError: at a forward-mode derivative outside of `forward_mode`; if `reverse_alone`, at any call under it.
    """

    def __init__(
        self,
        of: str,
        *,
        instead: str = "",
        plain: Callable | None = None,
        reverse_alone: bool = False,
        hint: bool = True,
        nondiff_argnums: tuple[int, ...] = (),
    ):
        self.of, self.instead, self.plain, self.reverse_alone = of, instead, plain, reverse_alone
        self.hint, self.nondiff = hint, nondiff_argnums

    def __call__(self, body: Callable) -> Callable:
        """Returns the wrapped function, with `defvjp`."""
        function = jax.custom_vjp(body, nondiff_argnums=self.nondiff)

        @functools.wraps(body)
        def run(*args):
            if in_forward_mode() and not self.reverse_alone:
                return (self.plain or body)(*args)
            taken = [n for n in range(len(args)) if n not in self.nondiff]
            given = reverse_only(self.of, self.instead, varying([args[n] for n in taken]), hint=self.hint)
            args = list(args)
            for n, arg in zip(taken, given, strict=True):
                args[n] = arg
            return function(*args)

        run.defvjp = function.defvjp
        return run


def reverse_only(of: str, instead: str, args: Any, *, hint: bool = True) -> Any:
    """Returns the arrays of `args` unchanged, marked so that a forward-mode derivative through them raises.

    `of`, `instead` and `hint` are those of `custom_vjp`.

    Raises:
        UsageError: immediately, if called under `forward_mode`.
    """
    use = [f"use {instead}"] if instead else []
    if in_forward_mode():
        raise UsageError("; ".join([f"forward_mode does not cover {of}", *use]))
    if hint:
        use.append("run it under xlstm_jax.autodiff.forward_mode() (config.model.forward_mode=True)")
    message = (
        f"forward-mode derivatives (jax.jvp, jax.jacfwd, jax.hessian) stop at {of}, which has a custom backward pass; "
        f"{', or '.join(use)}"
    )

    def marked(a):
        return _marked.bind(a, message=message) if jnp.issubdtype(jnp.result_type(a), jnp.inexact) else a

    return jax.tree.map(marked, args)


# `_marked` is the identity. Its derivative passes through `_refused`: forward mode evaluates that, which raises, while
# reverse mode only transposes it, to the identity. Neither leaves an operation in a compiled program.
_marked, _refused = Primitive("reverse_only"), Primitive("forward_mode_refused")


def _refuse(*_, message: str, **__):
    raise UsageError(message)


def _through(_, a, *, message: str):
    del message
    return [a]


def _marked_jvp(primals, tangents, *, message: str):
    (a,), (da,) = primals, tangents
    return a, da if isinstance(da, ad.Zero) else _refused.bind(da, message=message)


_marked.def_impl(lambda a, *, message: a)
_marked.def_abstract_eval(lambda a, *, message: a)
mlir.register_lowering(_marked, _through)
batching.primitive_batchers[_marked] = lambda args, axes, *, message: (_marked.bind(*args, message=message), *axes)
ad.primitive_jvps[_marked] = _marked_jvp

_refused.def_impl(_refuse)
_refused.def_abstract_eval(lambda a, *, message: a)
mlir.register_lowering(_refused, lambda context, a, *, message: _refuse(message=message))
batching.primitive_batchers[_refused] = lambda args, axes, *, message: _refuse(message=message)
ad.deflinear2(_refused, lambda g, a, *, message: [g])
