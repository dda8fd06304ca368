"""What the documentation shows works: its Python runs; its commands name programs, flags and files that are there."""

import os
import pathlib
import re
import subprocess
import sys

import pytest

from experiments.cli import config_at
from experiments.suites.base import SUITES
from experiments.sweeps.runner import load

ROOT = pathlib.Path(__file__).parent.parent.parent
EXPERIMENTS = ROOT / "experiments"
DOCS = sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "knobs.md")
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (*DOCS, ROOT / "README.md")}
PYTHON = {name: re.findall(r"^```python\n(.*?)^```", text, flags=re.S | re.M) for name, text in TEXTS.items()}
# An indented block or a fenced one; a command may go on behind a backslash.
COMMAND = re.compile(r"python -m experiments\.([a-z]\w*)((?:[^\n`|&)]|\\\n)*)")
COMMANDS = sorted({(name, *found) for name, text in TEXTS.items() for found in COMMAND.findall(text)})
# Run by tests/test_readme.py, and by tests/experiments/test_export.py with a file to read.
ELSEWHERE = ("README.md", "docs/serving.md")
FLAG = re.compile(r"DEFINE_\w+\(\s*\"(\w+)\"")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PYTHON if PYTHON[name] and name not in ELSEWHERE])
def test_python_runs(name, tmp_path):
    """A page's blocks in order, in one process."""
    program = tmp_path / "page.py"
    program.write_text("\n".join(PYTHON[name]), encoding="utf-8")
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT), "XLA_FLAGS": ""}
    done = subprocess.run(
        [sys.executable, program], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def flags_of(program: str) -> set[str]:
    """Of a program and of what it shares with others."""
    source = (EXPERIMENTS / f"{program}.py").read_text(encoding="utf-8")
    shared = (EXPERIMENTS / "processes.py").read_text(encoding="utf-8") if "processes" in source else ""
    return set(FLAG.findall(source + shared)) | {"help", "helpfull"}


def test_commands_are_found():
    assert {"train", "evaluate", "generate", "sweep", "report", "bench"} <= {program for _, program, _ in COMMANDS}


@pytest.mark.parametrize(("page", "program", "rest"), COMMANDS)
def test_commands_are_there(page, program, rest):
    """Programs, flags; configs with their variants and keys, sweeps with theirs, suites."""
    assert (EXPERIMENTS / f"{program}.py").is_file()
    for word in re.sub(r"[\"'\\]", " ", rest).split():
        if not word.startswith("--"):
            continue
        flag, _, value = word[2:].partition("=")
        name, _, key = flag.partition(".")
        assert name in flags_of(program) or name.removeprefix("no") in flags_of(program), word
        if name == "config" and not key:
            config_at(value)
        elif name == "sweep":
            load(value)
        elif name == "suite" and value != "NAME":
            SUITES.get(value)
        elif key:
            config = re.search(r"--config=(\S+)", rest)
            section = config_at(config[1] if config else "configs/base.py")
            for part in key.split("."):
                section = section[part]
