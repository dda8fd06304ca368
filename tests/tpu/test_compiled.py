"""The kernels compiled for TPUs, forward and backward, at production sizes."""

import json
import os
import subprocess
import sys

import pytest

from tests.tpu.compiled import CASES, environment, missing

# Where the compiler was named, something else that is missing is a failure.
WHY = "" if "XLSTM_JAX_LIBTPU" in os.environ else missing()
pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(WHY), reason=WHY or "everything is there")]


@pytest.mark.parametrize("case", CASES)
def test_kernels(case):
    """One kernel for each pass, nothing between devices, and no array of T x T: few times the arguments' memory."""
    # A process of its own, since the compiler must be told before jax starts a backend.
    command = [sys.executable, "-m", "tests.tpu.compiled", case]
    done = subprocess.run(command, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])[case]
    assert found["kernels"] == {"mlstm_tpu_forward": 1, "mlstm_tpu_backward": 1}
    assert found["collectives"] == []
    assert found["temporaries"] < 3
