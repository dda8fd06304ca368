"""Runs the command-line programs as a user does: in real processes in the repository's root."""

import atexit
import functools
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import jax
import pytest

from tests.flags import FAST
from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.train.loop import train

ROOT = pathlib.Path(__file__).parents[2]
TIMEOUT = 300  # seconds; much longer than any of them takes


class Programs:
    """Starts `python -m experiments.NAME`; processes and test runs share compiled programs."""

    def __init__(self, folder: pathlib.Path):
        not_theirs = ("XLSTM_JAX_DATA_MIRROR", "PYTEST_CURRENT_TEST")
        self.env = {key: value for key, value in os.environ.items() if key not in not_theirs}
        self.env |= {
            "JAX_PLATFORMS": "cpu",
            "XLA_FLAGS": FAST,
            "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "XLSTM_JAX_CACHE": str(folder / "cache"),
        }

    def start(self, name: str, *arguments: str, python: tuple[str, ...] = (), **env: str) -> subprocess.Popen:
        command = [sys.executable, *python, "-m", f"experiments.{name}", *map(str, arguments)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "encoding": "utf-8"}
        return subprocess.Popen(command, cwd=ROOT, env=self.env | env, **pipes)

    def run(self, name: str, *arguments: str, **options) -> subprocess.CompletedProcess:
        """Runs a program; forked from a process with the libraries imported, unless an option affects imports."""
        if not any(key == "python" or key.startswith(("JAX_", "PYTHON")) for key in options):
            return self._forked(f"experiments.{name}", list(map(str, arguments)), options)
        process = self.start(name, *arguments, **options)
        try:
            out, err = process.communicate(timeout=TIMEOUT)
        finally:
            process.kill()
        return subprocess.CompletedProcess(process.args, process.returncode, out, err)

    def _forked(self, module: str, arguments: list[str], env: dict[str, str]) -> subprocess.CompletedProcess:
        request = {"module": module, "arguments": arguments, "env": self.env | env}
        with tempfile.TemporaryDirectory() as folder:
            streams = {name: str(pathlib.Path(folder) / name) for name in ("out", "err")}
            server = self._server(tuple(sorted({**self.env, "XLSTM_JAX_CACHE": ""}.items())))
            server.stdin.write(json.dumps(request | streams) + "\n")
            server.stdin.flush()
            status = int(server.stdout.readline())
            texts = [pathlib.Path(path).read_text(encoding="utf-8") for path in streams.values()]
        return subprocess.CompletedProcess([module, *arguments], status, *texts)

    @staticmethod
    @functools.cache
    def _server(env: tuple[tuple[str, str], ...]) -> subprocess.Popen:
        """A process that imports the libraries with this environment and lives until the end of the tests."""
        command = [sys.executable, "-m", "tests.experiments.forked"]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "encoding": "utf-8"}
        server = subprocess.Popen(command, cwd=ROOT, env=dict(env), **pipes)
        atexit.register(server.kill)
        return server

    def output(self, name: str, *arguments: str, **options) -> str:
        """Returns the output of a program, which must succeed."""
        done = self.run(name, *arguments, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def programs(tmp_path) -> Programs:
    return Programs(tmp_path)


@pytest.fixture
def text(tmp_path) -> pathlib.Path:
    return write_text(tmp_path / "text.txt")


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory) -> pathlib.Path:
    """The workdir of a run of the `tiny` variant that has learned a few words; do not write to it."""
    folder = tmp_path_factory.mktemp("tiny_run")
    config = tiny_config("language_model", write_text(folder / "text.txt"))
    config.train.steps = config.train.eval_every = 40
    config.optimizer.learning_rate = 1e-2
    config.sample.length = 0
    with jax.numpy_dtype_promotion("standard"):  # as tests/conftest.py sets it, after this fixture
        assert train(config, folder / "run") == 0
    return folder / "run"
