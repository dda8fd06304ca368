"""The safetensors files of a folder: one, or several with an index. Nothing is ever unpickled."""

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from xlstm_jax.errors import UsageError, one_line, shown
from xlstm_jax.models.huggingface.config import read_json
from xlstm_jax.models.huggingface.layout import OLD_NAMES

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
DTYPES = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


class Weights:
    """The tensors of a folder by name, with old names replaced. The constructor reads only the files' headers.

    Raises:
        UsageError: there are no weights, a file is missing or incomplete, a dtype is not float, a tensor occurs twice
            (perhaps under its old name), or the index points outside the folder.
    """

    def __init__(self, folder: Path):
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.bytes = 0
        self._files: dict[str, Path] = {}
        self._names: dict[str, str] = {}
        for path in _paths(folder):
            with _opened(path) as file:
                for own in file.keys():  # noqa: SIM118 (not a dict)
                    name, part = OLD_NAMES.get(own, own), file.get_slice(own)
                    if (kind := part.get_dtype()) not in DTYPES:
                        allowed = ", ".join(DTYPES)
                        raise UsageError(f"{path} has {shown_name(own)} as {kind}; must be one of {allowed}")
                    if name in self.shapes:
                        both = " and ".join(sorted({shown_name(self._names[name]), shown_name(own)}))
                        where = " and ".join(sorted({self._files[name].name, path.name}))
                        raise UsageError(f"{folder} has {both} more than once ({where}); keep one of them")
                    self.shapes[name] = tuple(part.get_shape())
                    self._files[name], self._names[name] = path, own
            self.bytes += path.stat().st_size

    def read(self, names: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
        """Yields these tensors one by one, file by file; only one file is mapped into memory at a time."""
        for path in dict.fromkeys(self._files.values()):
            with _opened(path) as file:
                for name in (name for name, where in self._files.items() if where == path and name in names):
                    yield name, file.get_tensor(self._names[name])


def shown_name(name: str, limit: int = 80) -> str:
    """A tensor's name for a one-line message; unprintable or long names are escaped or cut."""
    return name if name.isprintable() and len(name) <= limit else shown(name, limit)


def write(folder: Path, sizes: Mapping[str, int], array, *, limit: int) -> None:
    """Writes `array(name)` for each name in `sizes` (in bytes) to files of at most `limit` bytes each.

    A larger tensor gets its own file. Several files get an index.
    """
    shards: list[list[str]] = [[]]
    filled = 0
    for name, size in sizes.items():
        if shards[-1] and filled + size > limit:
            shards.append([])
            filled = 0
        shards[-1].append(name)
        filled += size
    count, where = len(shards), {}
    for number, names in enumerate(shards, start=1):
        file = SINGLE if count == 1 else f"model-{number:05d}-of-{count:05d}.safetensors"
        where |= dict.fromkeys(names, file)
        path = folder / file
        path.touch()
        mode = path.stat().st_mode
        save_file({name: array(name) for name in names}, path, metadata={"format": "pt"})
        path.chmod(mode)  # like any new file; safetensors makes files readable only for their owner
    if count > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": where}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _paths(folder: Path) -> list[Path]:
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if not (folder / INDEX).exists():
        pickled = (folder / "pytorch_model.bin").exists() or (folder / "pytorch_model.bin.index.json").exists()
        why = "its pytorch_model.bin is a pickle, which is never read; save it as safetensors" if pickled else ""
        raise UsageError(f"{folder} has no {SINGLE} and no {INDEX}; {why or 'give a folder that has one'}")
    files = read_json(folder / INDEX).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(name, str) for name in files.values()):
        raise UsageError(f"{folder / INDEX} has no weight_map of tensors to files; fetch it again")
    paths = []
    for name in sorted(set(files.values())):
        if name != Path(name).name or "\\" in name or not name.isprintable() or not name.endswith(".safetensors"):
            raise UsageError(f"{folder / INDEX} names the file {shown(name)}; must be a .safetensors file next to it")
        if not (folder / name).is_file():
            raise UsageError(f"{folder} lacks {name}, one of the {len(set(files.values()))} files in its index")
        paths.append(folder / name)
    return paths


@contextlib.contextmanager
def _opened(path: Path):
    try:
        file = safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is not a complete safetensors file ({one_line(error)}); fetch it again") from error
    with file:
        yield file
