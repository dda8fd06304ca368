"""Registered names, the order of subpackages, and imports."""

import ast
import importlib
import importlib.util
import pathlib
import subprocess
import sys

import pytest

from xlstm_jax.errors import UsageError
from xlstm_jax.registry import Registry

ROOT = pathlib.Path(__file__).parent.parent
GROUND = ("autodiff", "checks", "errors", "files", "plugins", "registry", "shapes", "sharding", "config")
# Subpackages from the lowest to the highest; each imports only itself and lower ones.
ROOMS = ("cells", "ops", "testing", "nn", "models", "data", "generate", "tasks", "train", "configs", "experiments")
ORDER = {
    **dict.fromkeys((*GROUND, "console"), 0),  # what every program prints on, by rich
    **{room: level for level, room in enumerate(ROOMS, start=1)},
}
FILES = sorted(path for room in ("xlstm_jax", "configs", "experiments") for path in (ROOT / room).rglob("*.py"))


def test_unknown_name_lists_the_known_ones():
    parts = Registry("part")
    parts.register("b", "a")(int)
    assert parts.names() == ("a", "b") and parts.get("a") is int
    with pytest.raises(UsageError, match="unknown part 'c'; known: a, b"):
        parts.get("c")


def test_a_taken_name_is_refused():
    parts = Registry("part")
    parts.register("a")(int)
    with pytest.raises(ValueError, match="part 'a' is registered already"):
        parts.register("a")(str)
    assert parts.get("a") is int


def test_modules_are_found_and_may_be_reloaded(tmp_path, monkeypatch):
    """A file added to the package is registered without editing a list; a notebook's reload uses the newer version."""
    package = tmp_path / "found_parts"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from xlstm_jax.registry import Registry\nPARTS = Registry('part', __name__)\n"
    )
    part = "from found_parts import PARTS\n\n@PARTS.register('one')\nclass One:\n    pass\n"
    (package / "one.py").write_text(part)
    monkeypatch.syspath_prepend(str(tmp_path))
    parts = importlib.import_module("found_parts").PARTS
    assert parts.names() == ("one",)
    first, module = parts.get("one"), sys.modules["found_parts.one"]
    assert importlib.reload(module).One is parts.get("one") is not first
    (package / "two.py").write_text(part.replace("One", "Two"))
    importlib.invalidate_caches()
    with pytest.raises(ValueError, match="'one' is registered already"):
        importlib.import_module("found_parts.two")


def imported(path: pathlib.Path, root: pathlib.Path = ROOT) -> set[str]:
    """Dotted names of all modules that a file imports, at any depth; `from a import b` yields a and a.b."""
    package = path.relative_to(root).parent.parts
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *([node.module] if node.module else ())))
            names.add(module)
            names.update(f"{module}.{alias.name}" for alias in node.names)
    return names


def room(module: str) -> str | None:
    """The subpackage of one of our modules: its folder, or its file at the top level; None for other modules."""
    parts = module.split(".")
    if parts[0] in ("configs", "experiments"):
        return parts[0]
    return parts[1] if parts[0] == "xlstm_jax" and len(parts) > 1 else None


def own_room(path: pathlib.Path) -> str | None:
    return room(".".join(path.relative_to(ROOT).with_suffix("").parts))


def rooms_of(path: pathlib.Path) -> set[str]:
    # `from xlstm_jax import __version__` names no subpackage.
    return {found for name in imported(path) if (found := room(name)) is not None and not found.startswith("__")}


def packages_of(path: pathlib.Path) -> set[str]:
    return {name.split(".")[0] for name in imported(path)}


def ids(path: pathlib.Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_file_has_a_room():
    """A new subpackage must be added to the order above."""
    assert {own_room(path) for path in FILES} <= {*ORDER, "__init__"}
    assert {own_room(path) for path in FILES} >= {"errors", "cells", "ops"}


def test_lower_rooms_never_import_higher_ones():
    wrong = [
        f"{ids(path)} ({own_room(path)}) imports from {other}"
        for path in FILES
        for other in rooms_of(path)
        if ORDER.get(own_room(path), 0) < ORDER.get(other, len(ORDER))
    ]
    assert not wrong


def test_the_walk_sees_imports(tmp_path):
    """Absolute ones, relative ones, and those inside functions."""
    (tmp_path / "a.py").write_text("def f():\n    import jax.numpy as jnp\n    from xlstm_jax import train\n")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "c.py").write_text("from . import d\nfrom .e import f\n")
    assert imported(tmp_path / "a.py", tmp_path) == {"jax.numpy", "xlstm_jax", "xlstm_jax.train"}
    assert imported(tmp_path / "b" / "c.py", tmp_path) == {"b", "b.d", "b.e", "b.e.f"}
    assert (room("xlstm_jax.train.loop"), room("configs.base"), room("jax.numpy")) == ("train", "configs", None)


def test_ground_imports_jax_numpy_and_the_standard_library_only():
    allowed = {"jax", "numpy", "jaxtyping", "xlstm_jax", *sys.stdlib_module_names}
    for path in FILES:
        if own_room(path) in GROUND:
            assert packages_of(path) <= allowed, ids(path)


def test_data_needs_no_jax():
    """So data-loading processes start fast and never touch a device."""
    for path in FILES:
        if own_room(path) == "data":
            assert not packages_of(path) & {"jax", "jaxlib", "flax", "optax", "orbax", "jaxtyping"}, ids(path)
            assert rooms_of(path) <= {"data", "console", "errors", "files", "registry", "config"}, ids(path)


def test_models_know_nothing_of_training():
    for path in FILES:
        if own_room(path) in ("cells", "ops", "nn", "models"):
            assert not rooms_of(path) & {"data", "tasks", "train", "generate"}, ids(path)


def test_config_dicts_stay_above_the_loop():
    """Lower levels use frozen dataclasses, which know their fields."""
    for path in FILES:
        if own_room(path) not in ("configs", "experiments") and ids(path) != "xlstm_jax/train/loop.py":
            assert "ml_collections" not in packages_of(path), ids(path)


@pytest.mark.skipif(importlib.util.find_spec("ruff") is None, reason="ruff is not installed (pip install -e '.[test]')")
@pytest.mark.parametrize("command", [("check",), ("format", "--check")], ids=" ".join)
def test_ruff(command):
    done = subprocess.run(
        [sys.executable, "-m", "ruff", *command, "."], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
