"""Documents to train on, from a named source or the user's own files."""

import dataclasses
import json
import math
import os
import re
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path

from xlstm_jax.data.download import fetch
from xlstm_jax.data.text.documents import Document
from xlstm_jax.errors import UsageError, one_line
from xlstm_jax.registry import Registry

STDLIB_BYTES = 4_000_000
# JSON can escape half of a UTF-16 surrogate pair. The JSON reader joins whole pairs into one character.
LONE_SURROGATE = re.compile("[\ud800-\udfff]")

SOURCES: Registry[Callable[[], str]] = Registry("data source")


@dataclasses.dataclass(frozen=True)
class Source:
    """Documents of a named source or of a path.

    A file is one document, or several with `separator` between them. A `.jsonl` file has one document per line, under
    "text". A folder has one document per `.txt` file, at any depth, in order of path. Empty documents are left out.
    Decoding keeps every byte (no newline translation, a byte-order mark stays), so byte tokens of a text are the file's
    bytes.
    """

    source: str  # a name in SOURCES
    path: str = ""  # overrides the name
    separator: str = ""  # between the documents of one text; "": the text is one document
    weight: float = 1.0  # in a mixture

    @property
    def name(self) -> str:
        """The source's name, or the last part of the path."""
        return os.path.basename(os.path.normpath(self.path)) if self.path else self.source

    def documents(self) -> Iterator[Document]:
        """Yields the documents.

        Raises:
            UsageError: the source is unknown, a file is missing, unreadable or not UTF-8, or there is no document.
        """
        path = Path(os.path.expanduser(self.path))
        found = False
        for document in self._read(path):
            if document:
                found = True
                yield document
        if not found:
            wanted = ".txt files with text" if self.path and path.is_dir() else "text"
            raise UsageError(f"{self.path or self.source!r} has no {wanted}; give a file or a folder that does")

    def _read(self, path: Path) -> Iterator[Document]:
        if self.path and path.is_dir():
            for file in sorted(path.rglob("*.txt")):
                if file.is_file() and file.stat().st_size:
                    yield _read_file(file)
        elif self.path and path.suffix == ".jsonl":
            yield from _json_lines(path)
        else:
            whole = _read_file(path) if self.path else Document.of(SOURCES.get(self.source)())
            yield from whole.split(self.separator) if self.separator else [whole]


def parse_mixture(mixture: str, separator: str = "") -> tuple[Source, ...]:
    """Parses "tinyshakespeare:0.7,my/folder:0.3". An unknown name is a path. Weights are scaled to sum to 1.

    Raises:
        UsageError: a part has no weight over 0, or a source occurs twice.
    """
    sources = []
    for part in mixture.split(","):
        name, _, weight = part.strip().rpartition(":")
        try:
            value = float(weight)
        except ValueError:
            value = math.nan
        if not name or not 0 < value < math.inf:
            raise UsageError(
                f"data.mixture {mixture!r}: {part.strip()!r} is not allowed; write NAME:WEIGHT with a weight over 0, "
                "as in 'tinyshakespeare:0.7,stdlib:0.3'; NAME may be a path"
            )
        known = name in SOURCES.names()
        sources.append(Source(name if known else "", "" if known else name, separator, value))
    total = sum(source.weight for source in sources)
    names = [source.name for source in sources]
    if len(set(names)) < len(names):
        raise UsageError(f"data.mixture {mixture!r} names {_repeated(names)!r} twice; each source needs its own name")
    return tuple(dataclasses.replace(source, weight=source.weight / total) for source in sources)


def _repeated(names: list[str]) -> str:
    return next(name for name in names if names.count(name) > 1)


@SOURCES.register("tinyshakespeare")
def tinyshakespeare() -> str:
    """1.1 MB of Shakespeare's plays (Karpathy 2015), downloaded on first use."""
    return str(_read_file(fetch("tinyshakespeare/input.txt")))


@SOURCES.register("stdlib")
def stdlib() -> str:
    """The running interpreter's top-level standard library modules by name, up to 4 MB of whole files.

    Needs no network. The text is the same on every machine with the same Python version, because modules that describe
    the build or the site are left out.
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
            f"this interpreter has no readable *.py files in {str(folder)!r}; "
            "choose another text with --config.data.path=FILE"
        )
    return "".join(parts)


def _json_lines(path: Path) -> Iterator[Document]:
    name = repr(str(path))
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                try:
                    text = json.loads(line)["text"]
                    if not isinstance(text, str):
                        raise TypeError
                except (ValueError, TypeError, KeyError, RecursionError) as error:
                    raise UsageError(
                        f'{name} line {number} is not a JSON object with a string "text": {line.strip()[:60]!r}; '
                        "each line must be one"
                    ) from error
                if not text.isascii() and (lone := LONE_SURROGATE.search(text)) is not None:
                    raise UsageError(
                        f'{name} line {number} has {lone[0]!r} at character {lone.start()} of its "text": half of a '
                        "surrogate pair, which UTF-8 cannot encode; remove it"
                    )
                yield Document.of(text)
    except FileNotFoundError as error:
        raise UsageError(f"no file {name}; give the path of a JSON-lines file") from error
    except OSError as error:
        raise UsageError(f"cannot read {name}: {one_line(error)}; give the path of a JSON-lines file") from error


def _read_file(path: Path) -> Document:
    name = repr(str(path))
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise UsageError(f"no file {name}; give the path of a UTF-8 text file") from error
    except IsADirectoryError as error:
        raise UsageError(f"{name} is a folder; give the path of one UTF-8 text file") from error
    except (OSError, ValueError) as error:  # ValueError: the path has a null byte
        raise UsageError(f"cannot read {name}: {one_line(error)}; give the path of a UTF-8 text file") from error
    if not data:
        raise UsageError(f"{name} is empty; give a UTF-8 text file with at least a few sequences of text")
    try:
        return Document.from_bytes(data)
    except UnicodeDecodeError as error:
        raise UsageError(
            f"{name} is not UTF-8: byte 0x{data[error.start]:02x} at byte offset {error.start}; "
            "the file must be UTF-8 text (convert it with iconv -t UTF-8)"
        ) from error
