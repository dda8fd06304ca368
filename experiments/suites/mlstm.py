"""Every form of the mLSTM over the length of the sequence, beside softmax attention and the official PyTorch code.

Batch 4, 4 heads, 64 query and key features, 128 value features, float32; ordinary gates. Memory is that of the compiled
program's temporaries; the error is that of the outputs (forward) or of the gradient of q (forward + backward) of one
sequence and head, against the recurrent form in float64, up to 16,384 steps. A form is stopped where it would take half
of the machine's memory, and where a run takes longer than `--patience`.
"""

import functools
import math

import numpy as np

from experiments.suites.base import SUITES, compiled_facts
from experiments.timing import Case, Facts

SIZES = (256, 1024, 4096, 16384, 65536)
CHECKED = 16384
BATCH, HEADS, KEYS, VALUES = 4, 4, 64, 128
PASSES = ("forward", "forward + backward")


@SUITES.register("mlstm")
def mlstm(tiny: bool) -> list[Case]:
    """Groups by pass and length; the official PyTorch code first where it is installed."""
    from xlstm_jax.ops.mlstm import IMPLEMENTATIONS

    cases = []
    for which in PASSES:
        for time in (8, 32) if tiny else SIZES:
            cases += _official(which, time)
            cases += [_ours(name, which, time) for name in ("chunkwise", *sorted({*IMPLEMENTATIONS} - {"chunkwise"}))]
            cases.append(_attention(which, time))
    return cases


@functools.lru_cache(maxsize=1)
def _inputs(time: int):
    """q, k, v, i, f and the weights of h in the loss, in NumPy."""
    rng = np.random.default_rng(0)
    shape = (BATCH, time, HEADS)
    q, k = rng.standard_normal((2, *shape, KEYS), np.float32)
    v, dh = rng.standard_normal((2, *shape, VALUES), np.float32)
    i, f = rng.standard_normal((2, *shape), np.float32)
    return q, k, v, i, f + 3, dh


def _group(which: str, time: int) -> str:
    return f"{which}, T {time:,}"


def _loss(h, dh):
    import jax.numpy as jnp

    return jnp.vdot(h.astype(dh.dtype), dh)


def _passes(which: str, run, args, dh):
    """`run` jitted, or the gradient of sum(run(*args) * dh) with respect to all of `args`."""
    import jax

    if which == PASSES[0]:
        return jax.jit(run)
    return jax.jit(jax.grad(lambda *args: _loss(run(*args), dh), argnums=tuple(range(len(args)))))


def _ours(name: str, which: str, time: int) -> Case:
    import jax
    import jax.numpy as jnp

    from xlstm_jax.ops.mlstm import mlstm

    def form(*args):
        return mlstm(*args, implementation=name)[0]

    @functools.cache
    def ready():
        *args, dh = map(jnp.asarray, _inputs(time))
        return _passes(which, form, args, dh), args

    def run():
        step, args = ready()
        return jax.block_until_ready(step(*args))

    def facts():
        step, args = ready()
        memory = compiled_facts(step, *args)
        if time > CHECKED:
            return Facts(memory)
        return Facts(memory, _error(form, which, time))

    return Case(_group(which, time), name, run, BATCH * time, time, facts)


@functools.lru_cache(maxsize=2)
def _reference(which: str, time: int):
    """The recurrent form of the first sequence's first head, in float64."""
    import jax

    from xlstm_jax.ops.mlstm import mlstm

    with jax.enable_x64(True):
        *args, dh = _first(time, np.float64)
        step = _passes(which, lambda *args: mlstm(*args, implementation="recurrent")[0], args, dh)
        return np.asarray(_one(step(*args)))


def _first(time: int, dtype):
    return [array[:1, :, :1].astype(dtype) for array in _inputs(time)]


def _one(result):
    """The outputs, or the gradient of the first argument."""
    return result[0] if isinstance(result, tuple) else result


def _error(form, which: str, time: int) -> float:
    *args, dh = _first(time, np.float32)
    wanted = _reference(which, time)
    got = np.asarray(_one(_passes(which, form, args, dh)(*args)), np.float64)
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def _attention(which: str, time: int) -> Case:
    """Causal softmax attention of as many heads, 128 features each in queries, keys and values alike."""
    import jax
    import jax.numpy as jnp

    def attention(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, is_causal=True)

    @functools.cache
    def ready():
        rng = np.random.default_rng(0)
        q, k, v, dh = (jnp.asarray(rng.standard_normal((BATCH, time, HEADS, VALUES), np.float32)) for _ in range(4))
        return _passes(which, attention, (q, k, v), dh), (q, k, v)

    def run():
        step, args = ready()
        return jax.block_until_ready(step(*args))

    def facts():
        step, args = ready()
        return Facts(compiled_facts(step, *args))

    return Case(_group(which, time), "softmax attention", run, BATCH * time, time, facts)


def _official(which: str, time: int) -> list[Case]:
    """The chunkwise form of `mlstm_kernels` in PyTorch, with its own backward pass."""
    try:
        import torch
        from mlstm_kernels.torch import get_mlstm_kernel
    except ImportError:
        return []
    import os

    torch.set_num_threads(os.cpu_count() or 1)
    kernel = get_mlstm_kernel("chunkwise--native_custbw")

    @functools.cache
    def ready():
        # [batch, heads, time, features] there.
        return [torch.tensor(np.ascontiguousarray(np.swapaxes(array, 1, 2))) for array in _inputs(time)]

    def run():
        *args, dh = ready()
        if which == PASSES[0]:
            with torch.no_grad():
                return kernel(*args, chunk_size=min(64, time))
        for array in args:
            array.requires_grad_().grad = None
        (kernel(*args, chunk_size=min(64, time)) * dh).sum().backward()
        return args[0].grad

    return [Case(_group(which, time), "official PyTorch", run, BATCH * time, time, lambda: Facts(math.nan))]
