"""The sLSTM over the sequence length, compared with the official PyTorch code for machines without CUDA.

Batch 16, 4 heads of 64 features, float32. Memory is that of the compiled program's temporaries. The error is that of
the outputs (forward) or of the gradient of x (forward + backward) of one sequence and head, against a float64 scan of
the cell with plain autodiff, up to 4,096 steps. A form is stopped if it would take half of the machine's memory, or if
a run takes longer than `--patience`.
"""

import functools

import numpy as np

from experiments.benching.base import PASSES, SUITES, compared, in_float64, jax_case, relative_error
from experiments.benching.timing import Case

SIZES = (256, 1024, 4096, 16384)
CHECKED = 4096
BATCH, HEADS, WIDTH = 16, 4, 64


@SUITES.register("slstm")
def slstm(tiny: bool) -> list[Case]:
    """Groups by pass and length; the official PyTorch code first, if installed."""
    from xlstm_jax.ops.slstm import IMPLEMENTATIONS

    cases = []
    for which in PASSES:
        for time in (8, 32) if tiny else SIZES:
            cases += _official(which, time)
            cases += [_ours(name, which, time) for name in IMPLEMENTATIONS]
    return cases


@functools.lru_cache(maxsize=1)
def _inputs(time: int):
    """The weights of y in the loss, and x and r."""
    rng = np.random.default_rng(0)
    dy = rng.standard_normal((BATCH, time, HEADS, WIDTH), np.float32)
    x = rng.standard_normal((BATCH, time, 4, HEADS, WIDTH), np.float32)
    r = rng.standard_normal((4, HEADS, WIDTH, WIDTH), np.float32) / (2 * WIDTH**0.5)
    return dy, x, r


def _ours(name: str, which: str, time: int) -> Case:
    from xlstm_jax.ops.slstm import slstm

    def run(x, r):
        return slstm(x, r, implementation=name)[0]

    options = {"which": which, "tokens": BATCH * time, "size": time}
    if time <= CHECKED:
        options["error"] = lambda: _error(run, which, time)
    return jax_case(f"{which}, T {time:,}", name, run, _inputs, **options)


def _error(run, which: str, time: int) -> float:
    return relative_error(compared(which, run, _first(time)), _reference(which, time))


def _first(time: int):
    """The inputs of one sequence and head."""
    dy, x, r = _inputs(time)
    return dy[:1, :, :1], x[:1, :, :, :1], r[:, :1]


@functools.lru_cache(maxsize=2)
def _reference(which: str, time: int):
    return in_float64(which, plain_scan, _first(time))


def plain_scan(x_BTGHD, r_GHDD):
    """Computes y [B, T, H, D] by a scan of the cell, with the gradients of plain autodiff."""
    import jax
    import jax.numpy as jnp

    from xlstm_jax.cells.slstm import empty_state, slstm_step

    def step(state, x_BGHD):
        pre = x_BGHD + jnp.einsum("bhd,ghde->bghe", state.y, r_GHDD, precision="highest")
        state = slstm_step(state, *jnp.moveaxis(pre, 1, 0), input_gate="exp", forget_gate="sigmoid")
        return state, state.y

    start = empty_state((x_BTGHD.shape[0], *x_BTGHD.shape[3:]), x_BTGHD.dtype)
    return jnp.moveaxis(jax.lax.scan(step, start, jnp.moveaxis(x_BTGHD, 1, 0))[1], 0, 1)


def _official(which: str, time: int) -> list[Case]:
    """The PyTorch cell of the package `xlstm` as it runs without CUDA, with weights of its own."""
    try:
        import torch
        from xlstm.blocks.slstm.cell import sLSTMCell, sLSTMCellConfig
    except ImportError:
        return []
    import os

    torch.set_num_threads(os.cpu_count() or 1)
    dtypes = {f"dtype{kind}": "float32" for kind in ("", "_b", "_r", "_w", "_g", "_s", "_a")}
    sizes = {"hidden_size": HEADS * WIDTH, "num_heads": HEADS, "batch_size": BATCH}
    cell = sLSTMCell(sLSTMCellConfig(backend="vanilla", **sizes, **dtypes))

    def run():
        dy, x = _torch_inputs(time)
        if which == PASSES[0]:
            with torch.no_grad():
                return cell(x)
        x.requires_grad_().grad = None
        (cell(x)[0] * dy).sum().backward()
        return x.grad

    return [Case(f"{which}, T {time:,}", "official PyTorch", run, BATCH * time, time)]


@functools.lru_cache(maxsize=1)
def _torch_inputs(time: int):
    """The inputs as torch tensors; dy is [batch, heads, time, features]."""
    import torch

    dy, x, _ = _inputs(time)
    return torch.tensor(np.swapaxes(dy, 1, 2).copy()), torch.tensor(x.reshape(BATCH, time, -1))
