"""Common to all programs: empty options, one-line errors, and running out of memory."""

import os
import re
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.programs.memory import asked_for, what_there_is
from tests.experiments.conftest import ROOT
from tests.experiments.programs import PROGRAMS, source
from xlstm_jax.errors import out_of_memory

# Parses `--FLAG=` for each given flag, each in its own process.
EMPTY = """
import importlib, os, sys
from experiments.programs import cli
program, *names = sys.argv[1:]
importlib.import_module(f"experiments.{program}")
for name in names:
    if not os.fork():
        cli._parse([program, f"--{name}="])
        os._exit(0)
    print(name, os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.mark.parametrize("program", PROGRAMS)
def test_an_empty_option(program):
    """Empty values, as from an unset shell variable, are refused for all paths and names."""
    # Flags without a default, or with one that is not empty.
    names = re.findall(r"DEFINE_(?:string|list)\(\s*\"(\w+)\", (?!\"\"|\[\])", source(program))
    assert names
    command = [sys.executable, "-c", EMPTY, program, *names]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [f"{name} 2" for name in names]
    wanted = [f"error: --{name}= is empty; give a value, or leave the option out" for name in names]
    assert done.stderr.splitlines() == wanted


def test_an_empty_config(programs, tmp_path):
    for given in (["--config="], ["--config", ""]):
        done = programs.run("train", *given, f"--workdir={tmp_path / 'run'}")
        assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "--config= is empty" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_config_module_that_cannot_be_imported(programs, tmp_path):
    """The packages that a module is in are imported in search of it."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "__init__.py").write_text("undefined\n")
    arguments = ("--config=broken.config", f"--workdir={tmp_path / 'run'}")
    done = programs.run("train", *arguments, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "module 'broken.config' cannot be imported: NameError: name 'undefined'" in done.stderr


FAILS = """
import sys
from experiments.programs import cli
from xlstm_jax.errors import UsageError
def main():
    {body}
cli.run(main, smaller="lower data.batch_size")
"""


def failed(body: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-c", FAILS.format(body=body)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_an_error_is_one_line_whatever_path_it_names():
    done = failed(r'raise UsageError("no run in a\nb[i]\t\udcff é")')
    assert (done.returncode, done.stderr) == (2, "error: no run in a\\nb[i]\\t\\udcff é\n")


def test_a_path_that_the_system_refuses(tmp_path):
    """Any operation on the path can fail; errors without a path, or of another kind, are bugs."""
    done = failed(f"open({str(tmp_path)!r})")
    wanted = f"error: cannot use {tmp_path} (Is a directory); give another path, or change its permissions\n"
    assert (done.returncode, done.stderr) == (2, wanted)
    for body in ('open("/none/such")', 'raise PermissionError(13, "no path")'):
        assert failed(body).stderr.startswith("Traceback")


def test_printed_names_that_are_no_text():
    done = failed(r'print("a\udcff")')
    assert (done.returncode, done.stdout, done.stderr) == (0, "a\\udcff\n", "")


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ("import numpy; numpy.zeros((10**6, 10**8))", r"Unable to allocate 728\. TiB for an array with shape \(1000"),
        ("raise MemoryError", "MemoryError"),
        ('raise RuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1099511627776 bytes.")', ""),
    ],
)
def test_memory_that_does_not_suffice(body, asked):
    done = failed(body)
    there = r"this process may use \d+\.\d GB(, of which at most \d+\.\d GB are free)?"
    wanted = rf"error: out of memory \({asked or 'Out of memory while trying to allocate 1099.5 GB'}.*\); {there}; "
    assert done.returncode == 2 and re.fullmatch(wanted + "lower data.batch_size\n", done.stderr)
    assert failed('raise RuntimeError("INTERNAL: a bug")').stderr.startswith("Traceback")


def test_memory_of_jax_on_cpu():
    """Recognises the error by its text, and no others."""
    with pytest.raises(RuntimeError) as caught:
        np.asarray(jnp.zeros((10**6, 10**8), jnp.float32))
    assert out_of_memory(caught.value)
    assert asked_for(caught.value) == "Out of memory allocating 400000.0 GB"
    assert what_there_is(caught.value).startswith("this process may use ")
    assert not out_of_memory(RuntimeError("INTERNAL: a bug")) and not out_of_memory(ValueError("Out of memory"))


def test_memory_of_a_device(monkeypatch):
    class Device:
        device_kind = "NVIDIA H100"

        def memory_stats(self):
            return {"bytes_limit": 60 * 10**9, "bytes_in_use": 45 * 10**9}

    monkeypatch.setattr("jax.devices", lambda: [Device()])
    assert what_there_is(RuntimeError("")) == "of NVIDIA H100 this process may use 60.0 GB, of which 15.0 GB are free"
    assert what_there_is(MemoryError()).startswith("this process may use ")  # an error of NumPy is about the machine


@pytest.mark.slow
def test_training_with_too_little_memory(programs, text, tmp_path):
    arguments = ("--config=configs/char_lm.py:tiny", f"--config.data.path={text}", "--config.sample.length=0")
    arguments += ("--config.model.pattern=r", "--config.model.recurrent.cell=rnn")
    done = programs.run("train", *arguments, "--config.model.features=400000", f"--workdir={tmp_path / 'run'}")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    what = r"error: out of memory \((Unable to allocate|Out of memory allocating) .*\); this process may use .* GB"
    assert re.match(what, done.stderr)
    assert "or lower data.batch_size, data.sequence_length or model.features" in done.stderr
