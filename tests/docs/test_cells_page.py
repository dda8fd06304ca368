"""The page of the family: every cell has a section, and its forms in the table are those that the code has."""

import functools
import re

import jax
import jax.numpy as jnp
import pytest

from experiments.programs.cli import ROOT, module_at
from xlstm_jax.cells import CELLS
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence import recurrence
from xlstm_jax.ops.recurrence.choice import IMPLEMENTATIONS
from xlstm_jax.testing.examples import examples

DOCS = ROOT / "docs"
PAGE = (DOCS / "cells.md").read_text(encoding="utf-8")
ALIASES = {"lstm_np": "lstm"}


def rows() -> dict[str, set[str]]:
    """From each cell in the first table to its forms."""
    found = {}
    for cells, _, forms in re.findall(r"^\| (`.*?) \| (.*?) \| (.*?) \|$", PAGE, flags=re.M):
        found |= {name: set(re.findall(r"`(\w+)`", forms)) for name in re.findall(r"`(\w+)`", cells)}
    return found


def test_every_cell_has_a_section():
    sections = re.findall(r"^### `(\w+)`$", PAGE, flags=re.M)
    assert len(sections) == len(set(sections))
    assert set(sections) | set(ALIASES) == set(CELLS.names())
    assert all(CELLS.get(alias) is CELLS.get(name) for alias, name in ALIASES.items())


def test_every_cell_stands_in_the_table():
    assert set(rows()) == set(CELLS.names())


def test_every_cell_stands_in_the_figure():
    family = module_at(str(DOCS / "figures" / "family.py"))
    drawn = [name for box in family.BOXES for name in box.names.split()]
    assert sorted(drawn) == sorted(set(CELLS.names()) - set(ALIASES))
    (DOCS / "figures" / "family.svg").stat()


@pytest.mark.parametrize("example", [e for e in examples() if e.name in CELLS.names()], ids=repr)
def test_forms_are_those_of_the_code(example):
    """Traced, not run. Without CUDA the cell `lstm` is refused by "cudnn" as well, for another reason."""
    params, x = example.params(jnp.float32), example.inputs(3, jnp.float32)
    there = set()
    for name in IMPLEMENTATIONS:
        try:
            jax.eval_shape(functools.partial(recurrence, example.cell, implementation=name), params, x)
        except UsageError as error:
            if "needs jax with CUDA" not in str(error):
                continue
        there.add(name)
    assert rows()[example.name] == there
