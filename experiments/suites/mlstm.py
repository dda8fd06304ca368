"""Every form of the mLSTM over the sequence length, compared with softmax attention and the official PyTorch code.

Batch 4, 4 heads, 64 query and key features, 128 value features, float32; ordinary gates. Memory is that of the compiled
program's temporaries. The error is that of the outputs (forward) or of the gradient of q (forward + backward) of one
sequence and head, against the recurrent form in float64, up to 16,384 steps. A form is stopped if it would take half of
the machine's memory, or if a run takes longer than `--patience`.
"""

import functools

import numpy as np

from experiments.benching.base import PASSES, SUITES, compared, in_float64, jax_case, relative_error
from experiments.benching.peers import official
from experiments.benching.timing import Case

SIZES = (256, 512, 1024, 4096, 16384, 65536)
CHECKED = 16384
BATCH, HEADS, KEYS, VALUES = 4, 4, 64, 128


@SUITES.register("mlstm")
def mlstm(tiny: bool) -> list[Case]:
    """Groups by pass and length; the official PyTorch code first, if installed."""
    import jax

    from xlstm_jax.ops.mlstm import IMPLEMENTATIONS

    # Kernels are compiled only for GPUs; timing the interpreter would be useless.
    names = [name for name in IMPLEMENTATIONS if name != "pallas" or jax.default_backend() == "gpu"]
    cases = []
    for which in PASSES:
        for time in (8, 32) if tiny else SIZES:
            options = {"kernel": "chunkwise--native_custbw", "chunk_size": min(64, time)}
            cases += official(_group(which, time), which, inputs, BATCH * time, time, **options)
            cases += [_ours(name, which, time) for name in ("chunkwise", *sorted({*names} - {"chunkwise"}))]
            if 1 < jax.device_count() <= BATCH:
                cases.append(_ours("chunkwise", which, time, devices=jax.device_count()))
            cases.append(_attention(which, time))
    return cases


@functools.lru_cache(maxsize=1)
def inputs(time: int):
    """The weights of h in the loss, and q, k, v, i, f."""
    rng = np.random.default_rng(0)
    shape = (BATCH, time, HEADS)
    q, k = rng.standard_normal((2, *shape, KEYS), np.float32)
    v, dh = rng.standard_normal((2, *shape, VALUES), np.float32)
    i, f = rng.standard_normal((2, *shape), np.float32)
    return dh, q, k, v, i, f + 3


def _group(which: str, time: int) -> str:
    return f"{which}, T {time:,}"


def _form(name: str):
    from xlstm_jax.ops.mlstm import mlstm

    return lambda *args: mlstm(*args, implementation=name)[0]


def _ours(name: str, which: str, time: int, devices: int = 1) -> Case:
    run, label = _form(name), name if devices == 1 else f"{name}, {devices} devices"
    options = {"which": which, "tokens": BATCH * time, "size": time, "devices": devices}
    if time <= CHECKED:
        options["error"] = lambda: _error(run, which, time)
    return jax_case(_group(which, time), label, run, inputs, **options)


@functools.lru_cache(maxsize=2)
def _reference(which: str, time: int):
    """The recurrent form of the first sequence's first head, in float64."""
    return in_float64(which, _form("recurrent"), _first(time))


def _first(time: int):
    return [array[:1, :, :1] for array in inputs(time)]


def _error(run, which: str, time: int) -> float:
    return relative_error(compared(which, run, _first(time)), _reference(which, time))


def _wide_inputs(time: int):
    return np.random.default_rng(0).standard_normal((4, BATCH, time, HEADS, VALUES), np.float32)


def _attention(which: str, time: int) -> Case:
    """Causal softmax attention with as many heads, and 128 features in queries, keys and values."""
    import jax

    def attention(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, is_causal=True)

    options = {"which": which, "tokens": BATCH * time, "size": time}
    return jax_case(_group(which, time), "softmax attention", attention, _wide_inputs, **options)
