"""Write the notebooks beside their scripts, without outputs: python -m experiments.notebooks.make

A script in jupytext's percent format is what is edited; the notebook is what Colab and Jupyter open. The same script
gives the same bytes.
"""

import pathlib

import jupytext
import nbformat

FOLDER = pathlib.Path(__file__).parent


def scripts() -> list[pathlib.Path]:
    """Those that notebooks are made of: their names begin with a number."""
    return sorted(FOLDER.glob("[0-9]*.py"))


def make(script: pathlib.Path) -> str:
    """The text of the notebook that the script gives."""
    notebook = jupytext.read(script, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext draws random ones
    notebook.metadata.pop("jupytext")  # the name of its version is in there
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def main() -> None:
    for script in scripts():
        script.with_suffix(".ipynb").write_text(make(script), encoding="utf-8")
        print(script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
