"""Memory for loading: the parameters once, plus little more."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest
from flax import nnx

from tests.models.examples import abstract
from xlstm_jax.models import ModelConfig, huggingface

# 267 million parameters, 1.07 GB in float32; the largest tensor is an eighth of it.
CONFIG = ModelConfig(vocab_size=32768, features=1024, pattern="x*16", norm="rms", norm_eps=1e-6, logit_softcap=30.0)
PROGRAM = r"""
import re
import sys

import jax
from xlstm_jax.models import huggingface

def resident(what):
    with open("/proc/self/status") as file:
        return 1024 * int(re.search(what + r":\s+(\d+) kB", file.read())[1])

jax.numpy.zeros(3).block_until_ready()
before = resident("VmRSS")
model = huggingface.load(sys.argv[1])
print(resident("VmHWM") - before)  # getrusage's peak would be the parent's where that is higher
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_peak_memory_beside_the_parameters(tmp_path):
    """Peak resident memory, including pages of mapped files, compared with the size of the files and parameters.

    In addition to the parameters, it has the pages of one file (here 150 MB) and copies of one tensor (134 MB).
    """
    graphdef, shapes = abstract(CONFIG)
    params = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.5, leaf.dtype), shapes)
    huggingface.save(nnx.merge(graphdef, params), tmp_path / "folder", max_shard_size=150_000_000)
    del params
    files = list((tmp_path / "folder").glob("*.safetensors"))
    size = sum(path.stat().st_size for path in files)
    assert len(files) >= 8 and 1e9 < size < 1.2e9
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "folder")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"JAX_PLATFORMS": "cpu"})
    assert done.returncode == 0, done.stderr
    peak = int(done.stdout)
    print(f"\n{len(files)} files of {size / 1e9:.2f} GB; peak resident memory above the start {peak / 1e9:.2f} GB")
    one_file, one_tensor = max(path.stat().st_size for path in files), 4 * CONFIG.vocab_size * CONFIG.features
    assert size <= peak <= size + one_file + 3 * one_tensor
