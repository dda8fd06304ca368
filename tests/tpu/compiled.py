"""Compiles the mLSTM's kernels for TPUs with no TPU: libtpu is a compiler too.

    python -m tests.tpu.compiled          prints a table of all cases; of named ones, as JSON

It needs the libtpu of jax's own version (`pip install 'jax[tpu]'`), in the environment or in a folder named by
XLSTM_JAX_LIBTPU. It says nothing of values or speed.
"""

import collections
import importlib.util
import json
import os
import re
import sys

from tests.gpu.compiled import COLLECTIVES

# Chip, batch, time, heads, keys, values, dtype, resets. A topology is the least that a chip comes in.
CASES = {
    "v5e, resets": ("v5e:2x2", 4, 4096, 8, 128, 256, "bfloat16", True),
    "v5p, K 512, V 512": ("v5p:2x2x1", 2, 1024, 4, 512, 512, "bfloat16", False),
    "v6e, K 64, V 64, float32": ("v6e:2x2", 4, 1024, 8, 64, 64, "float32", False),
}


def missing() -> str:
    """Why nothing can be compiled here; empty where it can."""
    if os.environ.get("XLSTM_JAX_LIBTPU") or importlib.util.find_spec("libtpu"):
        return ""
    return "libtpu is not installed (pip install 'jax[tpu]')"


def environment() -> dict[str, str]:
    """The environment variables of a process that compiles; without them, libtpu looks for a TPU in Google's cloud."""
    paths = [os.environ.get(name, "") for name in ("XLSTM_JAX_LIBTPU", "PYTHONPATH")]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        "XLA_FLAGS": "",
        "JAX_PLATFORMS": "cpu",
        "TPU_SKIP_MDS_QUERY": "1",
        "TPU_WORKER_HOSTNAMES": "localhost",
        "TPU_ACCELERATOR_TYPE": "v5litepod-4",
    }


def compiled(chip, batch, time, heads, keys, values, dtype, resets) -> dict:
    """Kernels and collectives of a forward and backward pass on one device; temporaries in sizes of the arguments."""
    import jax
    import jax.numpy as jnp
    import numpy as np
    from jax.experimental import topologies
    from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

    from xlstm_jax.ops.mlstm import mlstm

    devices = topologies.get_topology_desc(platform="tpu", topology_name=chip).devices
    mesh = Mesh(np.array(devices[:1]), "x", axis_types=(AxisType.Auto,))

    def shape(*size, dtype=dtype):
        return jax.ShapeDtypeStruct((batch, time, *size), dtype, sharding=NamedSharding(mesh, PartitionSpec()))

    def step(dh, q, k, v, i, f, reset=None):
        h, pullback = jax.vjp(lambda *a: mlstm(*a, reset_BT=reset, implementation="pallas")[0], q, k, v, i, f)
        return h, pullback(dh)

    q, v, gate = shape(heads, keys), shape(heads, values), shape(heads)
    with jax.set_mesh(mesh):  # otherwise Pallas asks the CPU what it can do
        program = jax.jit(step).lower(v, q, q, v, gate, gate, *[shape(dtype=jnp.bool_)] * resets).compile()
    text = program.as_text()
    memory = program.memory_analysis()
    return {
        "kernels": dict(collections.Counter(re.findall(r"%(mlstm_tpu_[a-z]+)[.\d]* = .*tpu_custom_call", text))),
        "collectives": sorted(set(re.findall(COLLECTIVES, text))),
        "temporaries": round(memory.temp_size_in_bytes / memory.argument_size_in_bytes, 2),
    }


def main() -> None:
    if why := missing():
        sys.exit(why)
    table = {name: compiled(*CASES[name]) for name in sys.argv[1:] or CASES}
    if sys.argv[1:]:
        print(json.dumps(table))
        return
    for name, row in table.items():
        print(f"| {name} | {' | '.join(map(str, row.values()))} |")


if __name__ == "__main__":
    os.environ |= environment()
    sys.path[:0] = filter(None, [os.environ.get("XLSTM_JAX_LIBTPU")])
    main()
