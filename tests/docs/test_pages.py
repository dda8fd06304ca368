"""What the documentation shows works: its Python runs; its commands name programs, flags and files that are there."""

import os
import re
import subprocess
import sys

import pytest

from experiments.benching.base import SUITES
from experiments.programs.cli import ROOT, config_at
from experiments.sweeping.runner import load
from tests.experiments.programs import PROGRAMS, flags_of, source
from tests.flags import FAST

DOCS = sorted(path for path in (ROOT / "docs").glob("*.md") if path.name != "knobs.md")
TEXTS = {path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8") for path in (*DOCS, ROOT / "README.md")}
PYTHON = {name: re.findall(r"^```python\n(.*?)^```", text, flags=re.S | re.M) for name, text in TEXTS.items()}
# An indented block or a fenced one; a command may continue after a backslash.
COMMAND = re.compile(r"python -m experiments\.([a-z]\w*)((?:[^\n`|&)]|\\\n)*)")
COMMANDS = sorted({(name, *found) for name, text in TEXTS.items() for found in COMMAND.findall(text)})
# Run by tests/test_readme.py, and by tests/experiments/test_export.py with a file to read.
ELSEWHERE = ("README.md", "docs/serving.md")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PYTHON if PYTHON[name] and name not in ELSEWHERE])
def test_python_runs(name, tmp_path):
    """A page's blocks in order, in one process."""
    program = tmp_path / "page.py"
    program.write_text("\n".join(PYTHON[name]), encoding="utf-8")
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "MPLBACKEND": "agg", "PYTHONPATH": str(ROOT), "XLA_FLAGS": FAST}
    done = subprocess.run(
        [sys.executable, program], cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]


def known_flags(program: str) -> set[str]:
    """Of a program and of what it shares with others."""
    shared = flags_of("programs/processes") if "processes" in source(program) else []
    return {*flags_of(program), *shared, "help", "helpfull"}


def test_commands_are_found():
    assert {"train", "evaluate", "generate", "sweep", "report", "bench"} <= {program for _, program, _ in COMMANDS}


@pytest.mark.parametrize(("page", "program", "rest"), COMMANDS)
def test_commands_are_there(page, program, rest):
    """Programs, flags; configs with their variants and keys, sweeps with theirs, suites."""
    assert program in PROGRAMS
    for word in re.sub(r"[\"'\\]", " ", rest).split():
        if not word.startswith("--"):
            continue
        flag, _, value = word[2:].partition("=")
        name, _, key = flag.partition(".")
        assert name in known_flags(program) or name.removeprefix("no") in known_flags(program), word
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
