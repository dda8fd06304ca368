"""The documentation's tables name all that is registered."""

import importlib
import pathlib
import re

import pytest

from experiments.benching.base import SUITES
from experiments.programs.cli import ROOT
from tests.experiments.programs import PROGRAMS
from xlstm_jax.models import BLOCKS


def files(*folder: str) -> set[str]:
    return {path.name for path in pathlib.Path(ROOT, *folder).glob("[!_]*.py")}


def having(folder: str, name: str) -> set[str]:
    """Files of a folder of `experiments` whose module has that name."""
    found = files("experiments", folder)
    return {file for file in found if hasattr(importlib.import_module(f"experiments.{folder}.{file[:-3]}"), name)}


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("models.md", set(BLOCKS.names())),
        ("tasks.md", files("configs") - {"base.py"}),
        ("tasks.md", having("sweeps", "get_sweep")),
        ("benchmarks.md", set(SUITES.names())),
        ("programs.md", set(PROGRAMS)),
    ],
    ids=["blocks", "configs", "sweeps", "suites", "programs"],
)
def test_all_stand_in_a_table(page, names):
    rows = re.findall(r"^\| ((?:`[\w.]+`(?:, 2 devices)? ?)+) \|", (ROOT / "docs" / page).read_text(), flags=re.M)
    assert len(names) >= 8 and not names - set(re.findall(r"[\w.]+", " ".join(rows)))
