"""Every kernel, forward and backward, compiled for an H200 at production sizes: what CUDA's assembler says of it."""

import json
import os
import subprocess
import sys

import pytest

from tests.gpu.compiled import CASES, environment, missing

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
    """All kernels are there, nothing is spilled, shared memory suffices, and bfloat16 products run on tensor cores."""
    # A process of its own, since the compiler must be told before jax starts a backend.
    command = [sys.executable, "-m", "tests.gpu.compiled", case]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    rows = json.loads(done.stdout.splitlines()[-1])[case]
    names = [row["kernel"].partition("__")[0] for row in rows]
    assert sorted(names) == sorted(EXPECTED[CASES[case][0].__name__])
    for row in rows:
        assert row["spills"] == 0, row
        assert row["shared"] <= SHARED, row
        assert row["registers"] > 0
        if "bfloat16" in CASES[case] and row["kernel"] != "mlstm_step":  # that has no product of matrices
            assert row["wgmma"] or row["mma"], row
