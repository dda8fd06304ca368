"""Freed memory is kept: the next step reuses it, without new pages from the system."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from experiments.programs import cli

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = [faults() for _ in range(3)][-1]
cli.keep_freed_memory()
print(plain, [faults() for _ in range(3)][-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sets an option of the GNU C library")
def test_no_page_is_asked_for_again():
    """Writing, freeing and writing 64 MiB again causes hundreds of page faults before, and almost none after."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    plain, kept = map(int, done.stdout.split())
    if plain < 20:
        pytest.skip("the C library here keeps freed memory by itself")
    assert kept < plain / 10


POISONED = """
import jax
import jax.numpy as jnp
from experiments.programs import cli

cli.keep_freed_memory()
from xlstm_jax.ops.mlstm import mlstm

q, k, v, i = (jax.random.normal(jax.random.key(n), (64, 100, 4, 48)[: 4 - (n == 3)]) for n in range(4))
for name in ("recurrent", "parallel", "chunkwise", "associative"):
    step = jax.jit(lambda *args: mlstm(*args, implementation=name)[0])
    for _ in range(2):
        assert jnp.isfinite(step(q, k, v, i, i)).all(), name
"""


@pytest.mark.slow
def test_nothing_is_read_that_was_not_written():
    """New memory is filled with large numbers (glibc's MALLOC_PERTURB_).

    The mLSTM's initial state of zeros, a constant for XLA, once made its CPU backend read memory that was not written.
    """
    environment = {**os.environ, "MALLOC_PERTURB_": "128", "JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""}
    done = subprocess.run([sys.executable, "-c", POISONED], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
