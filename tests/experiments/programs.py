"""The command-line programs by name, and the flags that each file defines."""

import re

from experiments.programs.cli import ROOT

FOLDER = ROOT / "experiments"
PROGRAMS = sorted(
    path.stem for path in FOLDER.glob("*.py") if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


def source(name: str) -> str:
    return (FOLDER / f"{name}.py").read_text(encoding="utf-8")


def flags_of(name: str) -> list[str]:
    """The flags defined in a file of `experiments`."""
    return re.findall(r"DEFINE_\w+\(\s*\"(\w+)\"", source(name))
