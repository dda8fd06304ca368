"""Write the notebooks next to their scripts, without outputs: python -m experiments.notebooks.make

Edit the scripts, in jupytext's percent format; open the notebooks in Colab and Jupyter. The same script always produces
the same bytes.
"""

import pathlib

import jupytext
import nbformat

FOLDER = pathlib.Path(__file__).parent


def scripts() -> list[pathlib.Path]:
    """The scripts of the notebooks; their names begin with a number."""
    return sorted(FOLDER.glob("[0-9]*.py"))


def make(script: pathlib.Path) -> str:
    """The text of the notebook made from a script."""
    notebook = jupytext.read(script, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # jupytext draws random ids
    notebook.metadata.pop("jupytext")  # contains jupytext's version
    nbformat.validate(notebook)
    return nbformat.writes(notebook) + "\n"


def main() -> None:
    for script in scripts():
        script.with_suffix(".ipynb").write_text(make(script), encoding="utf-8")
        print(script.with_suffix(".ipynb"))


if __name__ == "__main__":
    main()
