"""The official PyTorch kernels of the mLSTM (`mlstm_kernels`), if installed."""

import functools
import os
from collections.abc import Callable

import numpy as np

from experiments.benching.base import PASSES
from experiments.benching.timing import Case


def official(
    group: str, which: str, inputs: Callable[[int], tuple], tokens: int, time: int, kernel: str, **options
) -> list[Case]:
    """Cases for the kernels with `kernel` in their names, with their own backward passes; on a GPU if there is one.

    `inputs(time)` returns the weights of h in the loss, and q, k, v, i, f.
    """
    try:
        import torch
        from mlstm_kernels.torch import get_available_mlstm_kernels, get_mlstm_kernel
    except ImportError:
        return []
    torch.set_num_threads(os.cpu_count() or 1)
    cases = []
    for name in (name for name in get_available_mlstm_kernels() if kernel in name):
        run = functools.partial(_run, get_mlstm_kernel(name), which, inputs, time, options)
        cases.append(Case(group, f"official PyTorch, {name.partition('--')[2]}", run, tokens, time))
    return cases


def _run(kernel, which: str, inputs, time: int, options):
    import torch

    dh, *args = _tensors(inputs, time)
    if which == PASSES[0]:
        with torch.no_grad():
            kernel(*args, **options)
    else:
        for array in args:
            array.requires_grad_().grad = None
        (kernel(*args, **options) * dh).sum().backward()
    if torch.cuda.is_available():
        torch.cuda.synchronize()


@functools.lru_cache(maxsize=1)
def _tensors(inputs, time: int):
    """The inputs as torch tensors [batch, heads, time, features]."""
    import torch

    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.bfloat16 if inputs(time)[0].dtype.itemsize == 2 else torch.float32
    arrays = (np.ascontiguousarray(np.swapaxes(array, 1, 2), np.float32) for array in inputs(time))
    return [torch.tensor(array, device=device, dtype=dtype) for array in arrays]
