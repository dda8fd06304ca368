"""Detects damaged checkpoints by checksums, because their formats accept changed bytes, and moves them away."""

import hashlib
import itertools
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
from jax.experimental import multihost_utils

from xlstm_jax.console import say
from xlstm_jax.errors import UsageError

NAME = "SHA256SUMS"  # in the checkpoint's folder, in the format of `sha256sum --check`


def write_sums(folder: Path) -> None:
    """Writes the SHA-256 of every file in subfolders of `folder`; orbax still changes the files directly in it."""
    names = [name for name in _files(folder) if "/" in name]
    with open(folder / NAME, "w", encoding="utf-8") as file:
        file.writelines(f"{digest}  {name}\n" for name, digest in _digests(folder, names))
        file.flush()
        os.fsync(file.fileno())  # after a power failure, an empty list would look like damage


def find_damage(folder: Path) -> str | None:
    """Describes what is wrong with the checkpoint in `folder`; None if nothing is.

    A checkpoint without checksums, from an earlier version, passes. Links do not pass, because they may point anywhere.
    """
    try:
        if folder.is_symlink():
            return "it is a link"
        names = set(_files(folder))
        for name in sorted(names):
            if (folder / name).is_symlink():
                return f"{name} is a link"
        if NAME not in names:
            return None
        lines = (folder / NAME).read_text(encoding="utf-8").splitlines()
        noted = {name: digest for digest, name in (line.split("  ", maxsplit=1) for line in lines)}
        if not noted:
            return f"{NAME} is empty"
        for name in noted:
            if name not in names:
                return f"{name} is missing"
        for name, digest in _digests(folder, noted):
            if digest != noted[name]:
                return f"{name} has changed since it was saved"
    except ValueError:
        return f"{NAME} has changed since it was saved"
    except OSError as error:
        return f"it cannot be read: {error.strerror}"
    return None


def steps_in(folder: Path) -> list[int]:
    """The steps of the checkpoints in a folder, including damaged ones."""
    return sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdecimal() and path.name.isascii())


def set_aside_damaged(folder: Path) -> None:
    """Moves damaged checkpoints from `folder` to FOLDER-damaged next to it, and prints a line for each.

    Raises:
        UsageError: all are damaged (nothing is moved), or there is no permission to move them.
    """
    steps = steps_in(folder)
    found = {step: find_damage(folder / str(step)) for step in steps}
    whole = [step for step in steps if found[step] is None]
    if steps and not whole:
        raise UsageError(
            f"checkpoint {folder / str(steps[-1])} is damaged ({found[steps[-1]]}); no other checkpoint is left; "
            "use another workdir"
        )
    if jax.process_index() == 0:
        for step in (step for step in steps if found[step]):
            aside = folder.with_name(f"{folder.name}-damaged")
            place = next(path for count in itertools.count(1) if not (path := aside / f"{step}.{count}").exists())
            try:
                aside.mkdir(exist_ok=True)
                (folder / str(step)).rename(place)
            except OSError as error:
                raise UsageError(f"damaged checkpoint {step} cannot be moved to {place} ({error.strerror})") from error
            say(f"checkpoint {step} is damaged ({found[step]}); moved to {place}; using step {whole[-1]}")
    multihost_utils.sync_global_devices("damaged checkpoints set aside")


def _files(folder: Path) -> Iterator[str]:
    """Relative names of all files and of links to folders."""
    for where, folders, files in os.walk(folder):
        links = [name for name in folders if os.path.islink(os.path.join(where, name))]
        for name in files + links:
            yield Path(where, name).relative_to(folder).as_posix()


def _digests(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yields (name, SHA-256) for each file; reads several files at a time."""

    def digest(name: str) -> str:
        with open(folder / name, "rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    names = sorted(names)
    with ThreadPoolExecutor() as pool:
        yield from zip(names, pool.map(digest, names), strict=True)
