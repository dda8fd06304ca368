"""The safetensors files of a folder: one, or several with an index. Nothing here unpickles anything."""

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
    """The tensors of a folder by name, old names made new; only the files' headers are read here.

    Raises:
        UsageError: no weights, a file that is missing or not whole, a dtype that is no float, a tensor that is there
            twice, also under its old name, or an index that points outside the folder.
    """

    def __init__(self, folder: Path):
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.bytes = 0
        self._files: dict[str, Path] = {}
        self._names: dict[str, str] = {}
        for path in _paths(folder):
            with _opened(path) as file:
                for own in file.keys():  # noqa: SIM118 (it is no dict)
                    name, part = OLD_NAMES.get(own, own), file.get_slice(own)
                    if (kind := part.get_dtype()) not in DTYPES:
                        allowed = ", ".join(DTYPES)
                        raise UsageError(f"{path} has {shown_name(own)} as {kind}; allowed: {allowed} (not quantised)")
                    if name in self.shapes:
                        both = " and ".join(sorted({shown_name(self._names[name]), shown_name(own)}))
                        where = " and ".join(sorted({self._files[name].name, path.name}))
                        raise UsageError(f"{folder} has {both} more than once ({where}); keep one of them")
                    self.shapes[name] = tuple(part.get_shape())
                    self._files[name], self._names[name] = path, own
            self.bytes += path.stat().st_size

    def read(self, names: Mapping[str, Any]) -> Iterator[tuple[str, np.ndarray]]:
        """Those tensors, one after the other, file by file: one file at a time is mapped into memory."""
        for path in dict.fromkeys(self._files.values()):
            with _opened(path) as file:
                for name in (name for name, where in self._files.items() if where == path and name in names):
                    yield name, file.get_tensor(self._names[name])


def shown_name(name: str, limit: int = 80) -> str:
    """A tensor's name for a message of one line, whatever a file calls it."""
    return name if name.isprintable() and len(name) <= limit else shown(name, limit)


def write(folder: Path, sizes: Mapping[str, int], array, *, limit: int) -> None:
    """The tensors `array(name)` for each name in `sizes` (in bytes), in files of at most `limit` bytes each.

    A larger tensor has a file of its own; several files get an index.
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
        path.chmod(mode)  # as any new file's; safetensors' own are for their owner alone
    if count > 1:
        index = {"metadata": {"total_size": sum(sizes.values())}, "weight_map": where}
        (folder / INDEX).write_text(json.dumps(index, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _paths(folder: Path) -> list[Path]:
    if (folder / SINGLE).exists():
        return [folder / SINGLE]
    if not (folder / INDEX).exists():
        pickled = (folder / "pytorch_model.bin").exists() or (folder / "pytorch_model.bin.index.json").exists()
        why = "its pytorch_model.bin is a pickle, which is never read; save it as safetensors" if pickled else ""
        raise UsageError(f"{folder} holds no {SINGLE} and no {INDEX}; {why or 'give a folder that does'}")
    files = read_json(folder / INDEX).get("weight_map")
    if not isinstance(files, dict) or not files or not all(isinstance(name, str) for name in files.values()):
        raise UsageError(f"{folder / INDEX} has no weight_map of tensors to files; fetch it again")
    paths = []
    for name in sorted(set(files.values())):
        if name != Path(name).name or "\\" in name or not name.isprintable() or not name.endswith(".safetensors"):
            raise UsageError(f"{folder / INDEX} names the file {shown(name)}; allowed are .safetensors beside it")
        if not (folder / name).is_file():
            raise UsageError(f"{folder} lacks {name}, one of the {len(set(files.values()))} files in its index")
        paths.append(folder / name)
    return paths


@contextlib.contextmanager
def _opened(path: Path):
    try:
        file = safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise UsageError(f"{path} is no whole safetensors file ({one_line(error)}); fetch it again") from error
    with file:
        yield file
