"""The notebooks: what their scripts give, without outputs, and run from top to end with tiny sizes."""

import os
import pathlib

import jax
import nbclient
import nbformat
import pytest

from experiments.notebooks.make import make, scripts
from experiments.programs.cli import ROOT
from tests.flags import FAST

TIMEOUT = 300  # seconds; far above what a cell takes

# Sizes that stand in for those of the cell tagged `parameters`; every notebook has some here.
TINY = {
    "00_tour": {"steps": 20, "features": 16, "length": 20},
    "01_gates": {"steps": 2, "features": 8},
    "02_vanishing_gradients": {"steps": 2, "features": 8, "length": 12, "cells": ("RNN", "sLSTM")},
    "03_modes": {"steps": 32, "lengths": (16, 32), "rounds": 1, "iterations": (1, 2)},
    "04_ablation": {"cells": ("lstm",), "biases": (1.0,), "length": 16, "steps": 4, "workers": 1},
    "05_your_own_cell": {"length": 16, "steps": 4, "features": 8},
}
SHAKESPEARE = ("00_tour", "01_gates")  # they read Tiny Shakespeare
each_script = pytest.mark.parametrize("script", scripts(), ids=lambda script: script.stem)


def read(script: pathlib.Path) -> nbformat.NotebookNode:
    return nbformat.read(script.with_suffix(".ipynb"), as_version=4)


def code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters(notebook: nbformat.NotebookNode) -> int:
    """The place of the one cell that holds the sizes."""
    (place,) = [number for number, cell in enumerate(notebook.cells) if "parameters" in cell.metadata.get("tags", ())]
    return place


def test_every_notebook_has_a_script():
    assert scripts()
    assert [script.stem for script in scripts()] == sorted(path.stem for path in scripts()[0].parent.glob("*.ipynb"))


@each_script
def test_is_what_its_script_gives(script):
    wanted = make(script)
    assert wanted == make(script)
    path = script.with_suffix(".ipynb")
    assert path.read_text(encoding="utf-8") == wanted, "write it again: python -m experiments.notebooks.make"


@each_script
def test_cells(script):
    """A title, the cell that finds the project, one cell of sizes, those of the table among them; no outputs."""
    notebook = read(script)
    first = code(read(scripts()[0]))[0]
    assert notebook.cells[0].source.startswith("# ") and code(notebook)[0].source == first.source
    assert all(not cell.outputs and cell.execution_count is None for cell in code(notebook))
    sizes = {}
    exec(notebook.cells[parameters(notebook)].source, sizes)
    assert set(TINY[script.stem]) <= set(sizes)


@pytest.mark.slow
@each_script
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::RuntimeWarning:zmq", "ignore::ResourceWarning")
def test_runs(script):
    """In a kernel of its own, from its own folder, as Jupyter runs it; there is a figure."""
    if script.stem in SHAKESPEARE and "XLSTM_JAX_DATA_MIRROR" not in os.environ:
        pytest.skip("XLSTM_JAX_DATA_MIRROR is not set")
    notebook = read(script)
    sizes = "".join(f"{name} = {value!r}\n" for name, value in TINY[script.stem].items())
    notebook.cells.insert(parameters(notebook) + 1, nbformat.v4.new_code_cell(sizes))
    env = os.environ | {
        "PYTHONPATH": str(ROOT),
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": FAST,
        "JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir,
    }
    options = {"timeout": TIMEOUT, "resources": {"metadata": {"path": str(script.parent)}}}
    nbclient.NotebookClient(notebook, **options).execute(env=env)
    shown = [output.get("data", {}) for cell in code(notebook) for output in cell.outputs]
    assert any("image/png" in data for data in shown)
