"""Help and flag errors appear immediately, without importing large libraries."""

import re

import pytest

from tests.experiments.programs import PROGRAMS, flags_of, source


def test_the_programs_are_found():
    assert {"train", "evaluate", "generate", "convert"} <= set(PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(programs, program):
    """-X importtime lists all imported modules."""
    done = programs.run(program, "--help", python=("-X", "importtime"))
    imported = set(re.findall(r"^import time:.*\| +(\w+)", done.stderr, flags=re.MULTILINE))
    assert "absl" in imported and not imported & {"jax", "flax", "optax", "orbax", "grain", "matplotlib"}
    assert f"experiments/{program}.py:" in done.stdout or "--" in done.stdout
    doc = source(program).split('"""')[1]
    assert doc.splitlines()[0] in done.stdout
    for name in flags_of(program):
        assert f"--{name}" in done.stdout or f"--[no]{name}" in done.stdout
