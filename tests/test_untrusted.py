"""No code that reads a file executes its contents or unpacks archives, whose names may lead anywhere."""

import ast
import pathlib
import pickle

import numpy as np
import pytest

from tests.untrusted import hostile_array, hostile_pickle
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.data.text.sources import Source
from xlstm_jax.errors import UsageError
from xlstm_jax.models import huggingface
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.folder import check_workdir

ROOT = pathlib.Path(__file__).parents[1]
FILES = sorted(path for folder in ("xlstm_jax", "experiments", "configs") for path in (ROOT / folder).rglob("*.py"))
# Modules that execute or unpack what they read.
MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve", "tarfile", "yaml"}
FUNCTIONS, METHODS = {"eval", "exec"}, {"extract", "extractall", "unpack_archive"}


def test_the_trap_works(tmp_path):
    """Otherwise the tests that use it would prove nothing."""
    pickle.loads(hostile_pickle(tmp_path / "trace"))
    assert (tmp_path / "trace").exists()
    np.save(tmp_path / "array.npy", hostile_array(tmp_path / "other"))
    np.load(tmp_path / "array.npy", allow_pickle=True)
    assert (tmp_path / "other").exists()


def findings(source: str) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found += [name.name for name in node.names if name.name.split(".")[0] in MODULES]
        elif isinstance(node, ast.ImportFrom):
            found += [node.module] if (node.module or "").split(".")[0] in MODULES else []
        elif isinstance(node, ast.Call):
            owner = node.func.value.id if isinstance(getattr(node.func, "value", None), ast.Name) else ""
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            refuses = any(word.arg == "allow_pickle" and word.value.value is False for word in node.keywords)
            named = name in FUNCTIONS if isinstance(node.func, ast.Name) else name in METHODS
            if named or (name == "load" and owner in ("np", "numpy", "torch") and not refuses):
                found.append(f"{owner}.{name}")
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from tarfile import open",
        "np.load(p)",
        "np.load(p, allow_pickle=True)",
        "eval(x)",
        "z.extractall()",
    ],
)
def test_what_would_be_found(source):
    assert findings(source)


# What reads such files within limits, which tests/data/test_archives.py and tests/data/series try: names and sizes of
# an archive's files, and the names that a pickle may hold.
GUARDED = {"xlstm_jax/data/archives.py": ["tarfile"], "xlstm_jax/data/series/classes/mnist1d.py": ["pickle"]}


def test_nothing_else_unpickles_or_unpacks():
    assert len(FILES) > 100
    found = {path.relative_to(ROOT).as_posix(): findings(path.read_text()) for path in FILES}
    assert {name: names for name, names in found.items() if names} == GUARDED


# More brackets than the parser can nest: it raises an error that is not a ValueError.
DEEP = "[" * 100_000
READERS = {
    "a tokenizer": ("tokenizer.json", BPETokenizer.from_file, "is not the tokenizer.json"),
    "texts": ("texts.jsonl", lambda path: list(Source("", str(path)).documents()), "line 1 is not a JSON object"),
    "a run": ("config.json", lambda path: saved.load(path.parent), "cannot be read as JSON"),
    "a run to go on with": ("config.json", lambda path: check_workdir(path.parent, {}), "cannot be read as JSON"),
    "a model": ("config.json", lambda path: huggingface.load(path.parent), "is not JSON"),
}


@pytest.mark.parametrize("reader", READERS)
def test_json_too_deep_for_its_parser(tmp_path, reader):
    name, read, message = READERS[reader]
    (tmp_path / name).write_text(DEEP, encoding="utf-8")
    with pytest.raises(UsageError, match=message) as caught:
        read(tmp_path / name)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
