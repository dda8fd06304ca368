"""The mLSTM with its sequence split over devices (`xlstm_jax/ops/context.py`): time, and memory per device.

Batch 1, 4 heads of 64 features, float32; ordinary gates. Memory is that of the compiled program's temporaries on one
device. The error is that of the outputs (forward) or of the gradient of q (forward + backward) against one device's.
Devices of one CPU share its cores, so more of them save memory, not time. Run with `--cpu_devices=8`.
"""

import functools

import numpy as np

from experiments.benching.base import PASSES, SUITES, compared, compiled_facts, one_pass, relative_error
from experiments.benching.timing import Case, Facts

SIZES = (16384, 65536)
DEVICES = (1, 2, 4, 8)
HEADS, FEATURES = 4, 64


@SUITES.register("context")
def context(tiny: bool) -> list[Case]:
    """Groups by pass and length; one device first."""
    import jax

    counts = [count for count in DEVICES if count <= jax.device_count()]
    return [_case(which, time, count) for which in PASSES for time in ((64,) if tiny else SIZES) for count in counts]


def _case(which: str, time: int, count: int) -> Case:
    import jax
    from jax.sharding import AxisType, NamedSharding, PartitionSpec

    from xlstm_jax.ops.mlstm import mlstm

    def run(*args):
        return mlstm(*args)[0]

    step, devices = one_pass(which, run), jax.devices()[:count]
    mesh = jax.make_mesh((count,), ("context",), axis_types=(AxisType.Auto,), devices=devices)

    @functools.cache
    def placed():
        return jax.device_put(list(_inputs(time)), NamedSharding(mesh, PartitionSpec(None, "context")))

    def once():
        with jax.set_mesh(mesh):
            return jax.block_until_ready(step(*placed()))

    def facts():
        wanted = compared(which, run, _inputs(time))
        with jax.set_mesh(mesh):
            memory = compiled_facts(step, *placed())
            return Facts(memory, relative_error(compared(which, run, placed()), wanted))

    name = "1 device" if count == 1 else f"{count} devices"
    return Case(f"{which}, T {time:,}", name, once, time, time, facts)


@functools.lru_cache(maxsize=1)
def _inputs(time: int):
    """The weights of h in the loss, and q, k, v, i, f."""
    rng = np.random.default_rng(0)
    dh, q, k, v = rng.standard_normal((4, 1, time, HEADS, FEATURES), np.float32)
    i, f = rng.standard_normal((2, 1, time, HEADS), np.float32)
    return dh, q, k, v, i, f + 3
