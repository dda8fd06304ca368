"""The site: built with warnings as errors, with every module and knob on it."""

import pathlib
import re
import subprocess
import sys

import pytest

from configs import base
from experiments.programs.cli import ROOT, module_at
from tests.configs.test_configs import flat

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def generated():
    return module_at(str(DOCS / "generated.py"))


@pytest.mark.slow
def test_it_is_built_without_a_warning(tmp_path):
    options = "-m sphinx -W --keep-going -q -E -b html docs"
    command = [sys.executable, *options.split(), tmp_path / "site"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stderr[-5000:]
    pages = {path.stem for path in DOCS.glob("*.md")}
    assert pages <= {path.stem for path in (tmp_path / "site").glob("*.html")}
    assert "chunk_size" in (tmp_path / "site" / "api" / "ops.html").read_text(encoding="utf-8")


def test_every_module_has_its_place():
    """All that are not private parts of a package whose pages name the whole."""
    named = set()
    for page in (DOCS / "api").glob("*.md"):
        named |= set(re.findall(r"automodule:: ([\w.]+)", page.read_text(encoding="utf-8")))
    modules = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in (ROOT / "xlstm_jax").rglob("*.py")
    }
    assert named <= modules
    inside = (
        "xlstm_jax.ops.mlstm.",
        "xlstm_jax.ops.slstm.",
        "xlstm_jax.ops.recurrence.",
        "xlstm_jax.models.huggingface.",
    )
    packages = {module for module in modules if any(other.startswith(f"{module}.") for other in modules)}
    assert not {module for module in modules - packages - named if not module.startswith(inside)}


def test_every_knob_is_on_the_page(generated):
    text = generated.knobs(pathlib.Path(base.__file__).read_text(encoding="utf-8"))
    shown = set(re.findall(r"^\| `([\w.]+)` \| `[^`]+` \| .* \|$", text, flags=re.M))
    assert shown == {name for name, _ in flat(base.get_config().to_dict())}
    assert "none \\| dots" in text  # of a comment above its knob, and with what would end a cell


def test_docstrings_are_set_as_they_stand(generated):
    """Equations as they stand, signs that reStructuredText would read as its own escaped, sections left to napoleon."""
    lines = ["y = x * |w|, of `a_` and `b`s:", "", "    h_t = f * c_", "    n = |x|", "", "With h_ more.", "", "Args:"]
    lines += ["    x: of *any* size.", ""]
    generated.as_rst(None, "function", "f", None, None, lines)
    assert lines[0] == "y = x \\* \\|w\\|, of `a_` and `b`\\ s:"
    assert lines[1:8] == ["", "", "::", "", "    h_t = f * c_", "    n = |x|", ""]
    assert lines[8:12] == ["", "With h\\_ more.", "", "Args:"] and lines[12] == "    x: of \\*any\\* size."
