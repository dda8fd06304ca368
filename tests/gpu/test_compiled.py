"""Every kernel, forward and backward, compiled for an H200 at production sizes: what CUDA's assembler says of it."""

import json
import os
import subprocess
import sys

import pytest

from tests.gpu.cases import CASES
from tests.gpu.compiled import environment, missing
from xlstm_jax.ops.mlstm.pallas import choose

# Where the plugin was named, something else that is missing is a failure.
WHY = "" if "XLSTM_JAX_CUDA_PLUGIN" in os.environ else missing()
pytestmark = [
    pytest.mark.gpu_compile,
    pytest.mark.skipif(bool(WHY), reason=WHY or "everything is there"),
]
# The mLSTM's states between chunks are computed again by the backward pass.
MLSTM = ["states", "outputs", "states", "state_gradients", "q_gradient", "k_gradient", "v_gradient"]
EXPECTED = {
    "mlstm_gradient": [f"mlstm_{name}" for name in MLSTM],
    "mlstm_decode": ["mlstm_step"],
    "slstm_gradient": ["slstm_forward", "slstm_backward"],
}
SHARED = 227 * 1024  # bytes that a program may have on an H200


@pytest.mark.parametrize("case", CASES)
def test_kernels(case):
    """All kernels are there, nothing is spilled, shared memory suffices, products run on tensor cores but for
    float32's, and an sLSTM's step loads its input alone."""
    # A process of its own, since the compiler must be told before jax starts a backend.
    command = [sys.executable, "-m", "tests.gpu.compiled", case]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    rows, collectives = json.loads(done.stdout.splitlines()[-1])[case]
    names = [row["kernel"].partition("__")[0] for row in rows]
    if case.startswith("8 devices"):  # XLA assembles equal kernels once there
        assert set(names) == set(EXPECTED[CASES[case][0].__name__])
    else:
        assert sorted(names) == sorted(EXPECTED[CASES[case][0].__name__])
    for row in rows:
        assert row["spills"] == 0, row
        assert row["shared"] <= SHARED, row
        assert row["registers"] > 0
        if row["kernel"] != "mlstm_step":  # that has no product of matrices
            assert (row["wgmma"] + row["mma"] > 0) == ("bfloat16" in CASES[case] or "tf32" in case), row
        if row["kernel"].startswith("slstm"):
            assert row["loaded a turn"] == step_bytes(row["kernel"], *CASES[case][4:6], resets=CASES[case][-1] is True)
        if row["wgmma"]:  # none is computed twice, by two warp groups
            keys, values, dtype = CASES[case][4:7]
            assert row["multiplied a turn"] <= 1.1 * turn_products(row["kernel"], keys, values, dtype), row
    # Of a mesh over the batch nothing is gathered; the gradient of r, which all sequences share, is summed.
    assert collectives == (["all-reduce"] if case.startswith("8 devices, D") else [])


def turn_products(kernel: str, keys: int, values: int, dtype: str) -> int:
    """Products of numbers that one turn of a kernel's loop needs."""
    kernel = kernel.removeprefix("mlstm_").partition("__")[0]
    tile = choose(8192, keys, values, dtype, exact=dtype != "float32").kernels()[kernel]
    if "state" in kernel:
        return tile.turn * tile.keys * tile.values
    # Scores, and what is multiplied by them: over all features of one kind, and over a tile of the other.
    wide = {"outputs": keys + tile.values, "v_gradient": keys + tile.values}
    return tile.held * tile.turn * wide.get(kernel, values + 2 * tile.keys)


def step_bytes(kernel: str, width: int, dtype: str, resets: bool) -> int:
    """What 16 sequences of a head need of one step: the recurrent matrices, loaded before, are not among it."""
    size = {"bfloat16": 2, "float32": 4}[dtype]
    # x; or pre-activations, c, n and m of the step before, float32, and the gradient of y.
    numbers = 4 * size if kernel.startswith("slstm_forward") else 4 * 4 + 3 * 4 + size
    # Each of 128 threads reads the mask of its two sequences.
    return 16 * width * numbers + 128 * 2 * 4 * resets
