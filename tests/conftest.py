"""Settings of all tests: the CPU as eight devices, strict dtypes and ranks, a compilation cache."""

import gc
import itertools
import os
import pathlib
import subprocess
import tempfile

from tests.flags import FAST

# Read once, when jax starts its backend, so set them before the first import of jax. The caller's flags come last and
# win: with XLA_FLAGS=--xla_backend_optimization_level=3 programs are optimized like users' programs.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=8 {FAST} {os.environ.get('XLA_FLAGS', '')}".strip()

import jax
import pytest

from xlstm_jax.ops.recurrence import scan

pytest.register_assert_rewrite("xlstm_jax.testing")  # its assertions show values like those of tests

CACHE = pathlib.Path(tempfile.gettempdir()) / f"xlstm_jax_test_cache_{getattr(os, 'getuid', int)()}"

# Keeps tokens of tests' texts out of the user's cache.
os.environ["XLSTM_JAX_CACHE"] = f"{CACHE}_data"

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_compilation_cache_dir", str(CACHE))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)  # shorter ones take as long to write

# optax's Adam raises its decay rate, a Python float, to an integer step count, which strict promotion rejects. So
# tests that update parameters use the standard rules; other tests hold the code they call to the strict ones.
STANDARD_PROMOTION = ("train", "tasks", "configs", "experiments")

# Programs do not record the Python line of an operation, which takes a tenth of the lowering.
jax.config.update("jax_traceback_in_locations_limit", 0)

MOST_MAPS = 52_000
TESTS_RUN = itertools.count(1)

# Programs and their traces are kept for later tests: garbage collection among them takes long and finds little.
gc.freeze()
gc.set_threshold(50_000, 20, 100)


@pytest.fixture(autouse=True)
def promotion(request):
    """Standard dtype promotion in the folders that run an optimiser."""
    folder = request.path.relative_to(pathlib.Path(__file__).parent).parts[0]
    if folder not in STANDARD_PROMOTION:
        yield
        return
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture(autouse=True)
def few_programs():
    """Drops compiled programs before they reach the system's limit on memory maps, 65,530 per process on Linux.

    Each holds ten or more, and XLA's compiler crashes with a segmentation fault at the limit.
    """
    yield
    maps = pathlib.Path("/proc/self/maps")
    if next(TESTS_RUN) % 20 == 0 and maps.exists() and maps.read_bytes().count(b"\n") > MOST_MAPS:
        jax.clear_caches()


@pytest.fixture(scope="module")
def rolled():
    """One copy of a step in the compiled loops of a module: less to compile."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan, "UNROLL", 1)
        yield


@pytest.fixture
def small_disk(tmp_path):
    """A folder with 300 kB of space, for users who may mount one."""
    folder = tmp_path / "small_disk"
    folder.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no right to mount a small file system: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture
def x64():
    """float64 for one test; arrays made inside keep it."""
    with jax.enable_x64(True):
        yield
