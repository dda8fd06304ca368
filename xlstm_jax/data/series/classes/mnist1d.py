"""MNIST-1D: digits as curves of 40 steps, 4,000 for training and 1,000 for testing.

Greydanus & Kobak 2024 (arXiv 2011.14439). The published file is a pickle of NumPy arrays.
"""

import pickle
from pathlib import Path
from typing import Any

from xlstm_jax.data.download import FILES, RemoteFile, fetch, github
from xlstm_jax.data.series.classes.labelled import LabelledSeries, Part
from xlstm_jax.errors import UsageError, one_line

NAME = "mnist1d/mnist1d_data.pkl"
FILES[NAME] = RemoteFile(
    github("greydanus/mnist1d", "7878d96082abd200c546a07a4101fa90b30fdf7e", "mnist1d_data.pkl"),
    "e95257676e9fb04568e46dda007da22cc8664ccba1451456afde55d7f6dd6aa5",
)


def read() -> LabelledSeries:
    """The parts "train" and "test", [N, 40, 1]. Downloads the file on first use."""
    arrays, parts = read_arrays(fetch(NAME)), {}
    for part, end in (("train", ""), ("test", "_test")):
        parts[part] = Part(arrays[f"x{end}"][..., None], arrays[f"y{end}"].astype(str))
    return LabelledSeries(("value",), parts)


# What a pickled array names; NumPy 2 renamed numpy.core to numpy._core.
_MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
ALLOWED = {"_reconstruct": _MODULES, "scalar": _MODULES, "ndarray": ("numpy",), "dtype": ("numpy",)}


class _ArraysOnly(pickle.Unpickler):
    """An unpickler that makes NumPy arrays and plain values. A pickle can name any function to be called on loading."""

    def find_class(self, module: str, name: str) -> Any:
        if module not in ALLOWED.get(name, ()):
            raise pickle.UnpicklingError(f"it names {module}.{name}, which makes no array")
        return super().find_class(module, name)


def read_arrays(path: Path) -> dict[str, Any]:
    """The values of a pickled dict, such as NumPy arrays; nothing else is made.

    Raises:
        UsageError: the file cannot be read, or holds anything else.
    """
    try:
        with path.open("rb") as file:
            values = _ArraysOnly(file).load()
    except (
        OSError,
        EOFError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        pickle.PickleError,
    ) as error:
        raise UsageError(f"cannot read {str(path)!r} ({one_line(error, 90)}); it must be a pickled dict") from error
    if not isinstance(values, dict):
        raise UsageError(f"{str(path)!r} holds a {type(values).__name__}; it must be a pickled dict")
    return values
