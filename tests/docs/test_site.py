"""The site: built with warnings as errors, with every module and knob on it."""

import re
import subprocess
import sys

import pytest

from configs import base
from experiments.programs.cli import ROOT, module_at
from tests.configs.test_configs import flat
from xlstm_jax.tasks import TASKS

DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def from_code():
    return module_at(str(DOCS / "from_code.py"))


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
        "xlstm_jax.ops.crf.",
        "xlstm_jax.ops.recurrence.",
        "xlstm_jax.models.huggingface.",
    )
    packages = {module for module in modules if any(other.startswith(f"{module}.") for other in modules)}
    assert not {module for module in modules - packages - named if not module.startswith(inside)}


def test_every_knob_is_on_the_page(from_code):
    text = from_code.knobs()
    shown = re.findall(r"^\| `([\w.]+)` \| `[^`]+` \| (.*) \|$", text, flags=re.M)
    names = {name for name, _ in shown}
    for task in TASKS.names():
        config = base.get_config(task).to_dict()
        assert {name for name, _ in flat(config)} - {"task", "seed", "plugins"} <= names
    plain = {"batch_size", "sequence_length"}  # whose names say it
    assert not {name for name, comment in shown if not comment and name.rpartition(".")[2] not in plain}


def test_docstrings_are_set_as_they_stand(from_code):
    """Equations as they stand, signs that reStructuredText would read as its own escaped, sections left to napoleon."""
    lines = ["y = x * |w|, of `a_` and `b`s:", "", "    h_t = f * c_", "    n = |x|", "", "With h_ more.", "", "Args:"]
    lines += ["    x: of *any* size.", ""]
    from_code.as_rst(None, "function", "f", None, None, lines)
    assert lines[0] == "y = x \\* \\|w\\|, of `a_` and `b`\\ s:"
    assert lines[1:8] == ["", "", "::", "", "    h_t = f * c_", "    n = |x|", ""]
    assert lines[8:12] == ["", "With h\\_ more.", "", "Args:"] and lines[12] == "    x: of \\*any\\* size."
