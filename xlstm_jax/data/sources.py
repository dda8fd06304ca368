"""Texts to train on: a named source, or the user's own file."""

import os
import sysconfig
from collections.abc import Callable
from pathlib import Path

from xlstm_jax.data.download import fetch
from xlstm_jax.errors import UsageError, one_line
from xlstm_jax.registry import Registry

STDLIB_BYTES = 4_000_000

SOURCES: Registry[Callable[[], str]] = Registry("data source")


def read_text(source: str, path: str = "") -> str:
    """The text of the file at `path`, or of the named source where `path` is empty.

    Bytes are decoded as they stand (no newline translation, a byte-order mark stays), so that byte tokens of the
    result are the file's bytes.

    Raises:
        UsageError: the source is unknown, or the file is missing, a folder, unreadable, empty or not UTF-8.
    """
    return _read_file(Path(os.path.expanduser(path))) if path else SOURCES.get(source)()


@SOURCES.register("tinyshakespeare")
def tinyshakespeare() -> str:
    """1.1 MB of Shakespeare's plays (Karpathy 2015), downloaded on first use."""
    return _read_file(fetch("tinyshakespeare/input.txt"))


@SOURCES.register("stdlib")
def stdlib() -> str:
    """The running interpreter's top-level standard library modules in order of name, up to 4 MB of whole files.

    Needs no network. The text is the same on every machine with the same Python version: modules that describe the
    build or the site are left out.
    """
    folder = Path(sysconfig.get_paths()["stdlib"])
    parts, size = [], 0
    for path in sorted(folder.glob("*.py")):
        if path.name.startswith(("_sysconfigdata", "sitecustomize", "usercustomize")):
            continue
        try:
            data = path.read_bytes()
            part = data.decode("utf-8")
        except (OSError, UnicodeDecodeError):
            continue
        if size + len(data) > STDLIB_BYTES:
            break
        parts.append(part)
        size += len(data)
    if not parts:
        raise UsageError(
            f"this interpreter keeps no readable *.py files in {str(folder)!r}; "
            "take another text with --config.data.path=FILE"
        )
    return "".join(parts)


def _read_file(path: Path) -> str:
    name = repr(str(path))
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"no file {name}; give the path of a UTF-8 text file") from error
    except IsADirectoryError as error:
        raise UsageError(f"{name} is a folder; give the path of one UTF-8 text file") from error
    except (OSError, ValueError) as error:  # ValueError: the path holds a null byte
        raise UsageError(f"cannot read {name}: {one_line(error)}; give the path of a UTF-8 text file") from error
    if not data:
        raise UsageError(f"{name} is empty; give a UTF-8 text file with at least a few sequences of text")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not UTF-8: byte 0x{data[error.start]:02x} at byte offset {error.start}; "
            "the file must be UTF-8 text (convert it with iconv -t UTF-8)"
        ) from error
