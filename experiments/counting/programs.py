"""Programs whose kernels are counted, by op and pass."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from xlstm_jax.errors import UsageError
from xlstm_jax.ops.kernels import Launched, recorded
from xlstm_jax.ops.mlstm import mlstm
from xlstm_jax.ops.slstm import slstm

AXES = {"mlstm": "batch, time, heads, keys, values", "slstm": "batch, time, heads, features"}
PASSES = ("forward", "backward")


def kernels(op: str, sizes: list[int], dtype: str) -> dict[str, list[Launched]]:
    """The kernels of each pass, in their order.

    Args:
        op: a key of `AXES`.
        sizes: of its axes.
        dtype: of its arrays.

    Raises:
        UsageError: the number of sizes is another, or the op's kernels do not take them.
    """
    if len(sizes) != len(names := AXES[op].split(", ")):
        raise UsageError(f"--sizes {','.join(map(str, sizes))} has {len(sizes)} numbers; --op={op} takes {AXES[op]}")
    if min(sizes) < 1:
        raise UsageError(f"--sizes {','.join(map(str, sizes))}: every size must be at least 1")
    run, shapes = {"mlstm": _mlstm, "slstm": _slstm}[op](*sizes)
    arrays = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]
    with recorded() as forward:
        outputs = jax.eval_shape(run, *arrays)
    with recorded() as both:
        jax.eval_shape(lambda *arrays: jax.vjp(run, *arrays)[1](jnp.zeros(outputs.shape, outputs.dtype)), *arrays)
    if not forward:
        raise UsageError(f"{op} runs no kernel at these sizes ({', '.join(names)})")
    return dict(zip(PASSES, (forward, both[len(forward) :]), strict=True))


def _mlstm(batch: int, time: int, heads: int, keys: int, values: int) -> tuple[Callable, list[tuple[int, ...]]]:
    rows = (batch, time, heads)
    shapes = [(*rows, keys), (*rows, keys), (*rows, values), rows, rows]
    return lambda *arrays: mlstm(*arrays, implementation="pallas")[0], shapes


def _slstm(batch: int, time: int, heads: int, features: int) -> tuple[Callable, list[tuple[int, ...]]]:
    shapes = [(batch, time, 4, heads, features), (4, heads, features, features)]
    return lambda *arrays: slstm(*arrays, implementation="pallas")[0], shapes
