"""The README's examples work."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


# Shapes of variables that the README's Python defines.
SHAPES = {"h": (2, 100, 4, 32), "y_BTD": (2, 10, 512)}


def test_python_runs():
    blocks = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    assert blocks
    for block in blocks:
        names = {}
        exec(compile(block, "README.md", "exec"), names)
        found = {name: value.shape for name, value in names.items() if name in SHAPES}
        assert found and all(SHAPES[name] == shape for name, shape in found.items())


def test_the_test_command_is_the_one_that_ci_takes():
    pattern = re.search(r"grep -m1 -o '(.*)' README.md", (ROOT / ".ci" / "run").read_text())[1]
    assert re.findall(pattern, README) == ["pip install -e '.[test]' && python -m pytest"]


@pytest.mark.parametrize(
    "path", sorted({*re.findall(r"\]\(([\w./-]+)\)", README), *re.findall(r"configs/\w+\.py", README)})
)
def test_paths_exist(path):
    assert (ROOT / path).exists()
