"""Help and flag errors answer at once: nothing heavy is imported for them."""

import pathlib
import re

import pytest

import experiments

PROGRAMS = sorted(
    path.stem
    for path in pathlib.Path(experiments.__path__[0]).glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


def test_the_programs_are_found():
    assert {"train", "evaluate", "generate", "convert"} <= set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(programs, program):
    """-X importtime lists every module that was imported."""
    done = programs.run(program, "--help", python=("-X", "importtime"))
    imported = set(re.findall(r"^import time:.*\| +(\w+)", done.stderr, flags=re.MULTILINE))
    assert "absl" in imported and not imported & {"jax", "flax", "optax", "orbax", "grain", "matplotlib"}
    assert f"experiments/{program}.py:" in done.stdout or "--" in done.stdout
    doc = pathlib.Path(experiments.__path__[0], f"{program}.py").read_text(encoding="utf-8").split('"""')[1]
    assert doc.splitlines()[0] in done.stdout
    for name in re.findall(
        r"DEFINE_\w+\(\s*\"(\w+)\"", (pathlib.Path(experiments.__path__[0]) / f"{program}.py").read_text()
    ):
        assert f"--{name}" in done.stdout or f"--[no]{name}" in done.stdout
