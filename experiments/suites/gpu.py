"""Our kernels on a GPU against XLA's chunkwise form, cuDNN's attention and LSTM, and the official Triton kernels.

65,536 tokens with 4,096 features of v in bfloat16, ordinary gates, as 16 heads (K 128, V 256) and as 8 (K 256, V 512).
The error is that of the outputs (forward) or of the gradient of q (forward + backward) of one head over the first 512
steps, against the recurrent form in float64. Further groups: float32, the sLSTM and the LSTM (batch 16, 12 heads of
64), one decoding step, and tiles of other sizes. Without a GPU nothing is run, and each row says so; `--tiny` runs all
on CPU.
"""

import dataclasses
import functools

import numpy as np

from experiments.benching.base import PASSES, SUITES, compared, in_float64, jax_case, relative_error
from experiments.benching.peers import official
from experiments.benching.timing import Case, Facts, Stopped

TIMES = (512, 2048, 8192, 32768, 65536)
TOKENS, CHECKED = 65536, 512
HEADS = {"16 heads": (16, 128, 256), "8 heads": (8, 256, 512)}
# Changes to the chunk, or to the tiles of all kernels; more steps or stages would not fit on an H200.
TILES = ({}, {"chunk": 128}, {"chunk": 512}, {"held": 64}, {"turn": 32}, {"warps": 8}, {"stages": 1})


@SUITES.register("gpu")
def gpu(tiny: bool) -> list[Case]:
    """Groups by kind, pass and length; the first case of a group is the one to compare with."""
    import jax

    there = tiny or jax.default_backend() == "gpu"
    # These have one length each, so they have no place in the figure over T.
    single = [*_float32(tiny), *_recurrent(tiny), *_decode(tiny), *_tiles(tiny)]
    cases = [*_mlstm(tiny), *(case._replace(size=0) for case in single)]
    return cases if there else [case._replace(facts=_refuse) for case in cases]


def _refuse() -> Facts:
    raise Stopped("not run on a GPU")


@functools.lru_cache(maxsize=2)
def _inputs(heads: int, keys: int, values: int, batch: int, time: int, dtype: str):
    """The weights of h in the loss, and q, k, v, i, f."""
    rng = np.random.default_rng(0)
    sizes = (heads, values), (heads, keys), (heads, keys), (heads, values), (heads,), (heads,)
    dh, q, k, v, i, f = (rng.standard_normal((batch, time, *size), np.float32) for size in sizes)
    return [array.astype(dtype) for array in (dh, q, k, v, i, f + 3)]


def _form(implementation):
    from xlstm_jax.ops.mlstm import mlstm

    return lambda *args: mlstm(*args, implementation=implementation)[0]


def _case(group: str, name: str, run, which: str, shape, dtype: str, error: bool = True) -> Case:
    heads, keys, values, batch, time = shape
    options = {"which": which, "tokens": batch * time, "size": time}
    if error:
        options["error"] = lambda: _error(run, which, (heads, keys, values), time, dtype)
    return jax_case(f"{group} {which}, T {time:,}", name, run, functools.partial(_of_time, shape, dtype), **options)


def _of_time(shape, dtype, time):
    return _inputs(*shape[:-1], time, dtype)


def _error(run, which, heads, time, dtype) -> float:
    arrays = [array[:, :, :1] for array in _inputs(*heads, 1, min(time, CHECKED), dtype)]
    return relative_error(compared(which, run, arrays), in_float64(which, _form("recurrent"), arrays))


def _mlstm(tiny: bool) -> list[Case]:
    import jax

    def attention(q, k, v, i, f):
        """The same heads and features of v. Keys are as wide as v, as cuDNN requires. The gates are not used."""
        del i, f
        q, k = (jax.numpy.concatenate([a, a], axis=-1) for a in (q, k))
        return jax.nn.dot_product_attention(q, k, v, is_causal=True, implementation=None if tiny else "cudnn")

    cases = []
    for group, heads in ({"tiny": (2, 8, 16)} if tiny else HEADS).items():
        for which in PASSES:
            for time in (16, 32) if tiny else TIMES:
                shape = (*heads, (64 if tiny else TOKENS) // time, time)
                cases.append(_case(group, "cuDNN attention", attention, which, shape, "bfloat16", error=False))
                of_time = functools.partial(_of_time, shape, "bfloat16")
                name, tokens = cases[-1].group, shape[-2] * time
                cases += official(name, which, of_time, tokens, time, kernel="chunkwise--triton")
                cases += [_case(group, name, _form(name), which, shape, "bfloat16") for name in ("chunkwise", "pallas")]
    return cases


def _float32(tiny: bool) -> list[Case]:
    shape = (2, 8, 16, 1, 32) if tiny else (8, 256, 512, 4, 2048)
    names = ("chunkwise", "pallas")
    return [_case("float32", name, _form(name), which, shape, "float32") for which in PASSES for name in names]


def _recurrent(tiny: bool) -> list[Case]:
    """Both implementations of the sLSTM, and the LSTM with as many features, scanned and by cuDNN."""
    import jax

    from xlstm_jax.cells import CELLS
    from xlstm_jax.ops.recurrence import recurrence
    from xlstm_jax.ops.slstm import slstm

    batch, time, heads, width = (2, 8, 2, 8) if tiny else (16, 1024, 12, 64)
    rng, features = np.random.default_rng(0), heads * width

    @functools.cache
    def inputs(time):
        sizes = (batch, time, heads, width), (batch, time, 4, heads, width), (4, heads, width, width)
        dy, x, r = (rng.standard_normal(size, np.float32) for size in sizes)
        return [array.astype("bfloat16") for array in (dy, x, r / width**0.5)]

    cell = CELLS.get("lstm")
    params = cell.init(jax.random.key(0), cell.Config(features, features))

    @functools.cache
    def lstm_inputs(time):
        return rng.standard_normal((2, batch, time, features), np.float32)

    cases = []
    for which in PASSES:
        options = {"which": which, "tokens": batch * time, "size": time}
        for name in ("scan", "pallas"):
            run = functools.partial(lambda name, x, r: slstm(x, r, implementation=name)[0], name)
            cases.append(jax_case(f"sLSTM {which}, T {time:,}", name, run, inputs, **options))
        for name in ("chunked",) if tiny else ("chunked", "cudnn"):
            run = functools.partial(lambda name, x: recurrence(cell, params, x, implementation=name)[0], name)
            cases.append(jax_case(f"LSTM {which}, T {time:,}", name, run, lstm_inputs, **options))
    return cases


def _decode(tiny: bool) -> list[Case]:
    shape = (2, 8, 16, 2, 1) if tiny else (8, 256, 512, 64, 1)
    return [_case("one step", name, _form(name), PASSES[0], shape, "bfloat16") for name in ("recurrent", "pallas")]


def _tiles(tiny: bool) -> list[Case]:
    from xlstm_jax.ops.mlstm.pallas import Tiles, choose

    _, keys, values, _, time = shape = (2, 8, 16, 1, 32) if tiny else (16, 128, 256, 8, 8192)
    cases = []
    for changed in ({},) if tiny else TILES:
        name = ", ".join(f"{key} {value}" for key, value in changed.items()) or "default"
        chosen = choose(time, keys, values, "bfloat16", changed.get("chunk"))
        change = {key: value for key, value in changed.items() if key != "chunk"}
        kernels = {kernel: dataclasses.replace(tile, **change) for kernel, tile in chosen.kernels().items()}
        tiles = Tiles(chunk=chosen.chunk, **kernels)
        cases.append(_case("tiles", name, _form(tiles), PASSES[1], shape, "bfloat16", error=False))
    return cases
