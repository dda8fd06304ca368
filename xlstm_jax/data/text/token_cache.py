"""A cache of tokens on disk. A source is encoded once; later runs memory-map the file."""

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from xlstm_jax.console import plain_console
from xlstm_jax.data.download import cache_dir
from xlstm_jax.data.text.documents import PIECE_CHARACTERS, Document
from xlstm_jax.data.text.tokenizers import Tokenizer
from xlstm_jax.errors import UsageError, one_line
from xlstm_jax.files import replacing

QUIET_SECONDS = 10.0  # between progress lines if the output is not a terminal


class Tokens(NamedTuple):
    """Concatenated documents."""

    tokens_N: np.ndarray  # the smallest unsigned dtype that holds the vocabulary
    start_D: np.ndarray  # int64, where each document begins, the first at 0


class Framed(NamedTuple):
    """A document with the tokens before and after it."""

    text: Document
    head: np.ndarray
    tail: np.ndarray


def tokenised(documents: Iterable[Framed], key: str, tokenizer: Any, size: int, name: str) -> Tokens:
    """Returns the tokens of the documents, memory-mapped from a file in the cache folder.

    Writes the file, atomically, if it is missing or does not match its checksum. If the cache folder is not writable,
    prints a line and keeps the tokens in memory.

    Args:
        documents: read only if the file must be written.
        key: the file's name; must differ for other documents and other tokenizers.
        tokenizer: encodes the documents.
        size: number of characters in all documents, for the progress bar.
        name: the source's name, for messages.

    Raises:
        UsageError: the tokenizer cannot encode a document, or changes its text.
    """
    console = plain_console(stderr=True)
    folder = cache_dir() / "tokens" / key
    found = _load(folder)
    if found is not None:
        return found
    if folder.exists():
        console.print(f"tokens of {name} in {folder} are damaged; encoding them again")
    encoded = _with_progress(_encoded(documents, tokenizer), size, name, console)
    try:
        with replacing(folder) as temporary:
            temporary.mkdir(parents=True, exist_ok=True)
            _write(temporary, encoded, np.min_scalar_type(tokenizer.vocab_size - 1))
            if _load(folder) is None:  # otherwise another process has just written it, and the renaming fails
                shutil.rmtree(folder, ignore_errors=True)
    except OSError as error:
        found = _load(folder)  # another process may have written it meanwhile
        if found is not None:
            return found
        console.print(
            f"cannot save tokens of {name} in {folder.parent} ({one_line(error)}); keeping them in memory "
            "(set XLSTM_JAX_CACHE to another folder)"
        )
        return _in_memory(_encoded(documents, tokenizer))
    found = _load(folder)
    return _in_memory(_encoded(documents, tokenizer)) if found is None else found


class Part(NamedTuple):
    """An encoded piece of a document."""

    tokens: np.ndarray
    first: bool  # whether a document begins here
    characters: int


def _encoded(documents: Iterable[Framed], tokenizer: Any) -> Iterator[Part]:
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)
    for document, head, tail in documents:
        first = True
        # Yields a piece only once the next one is there, because the last one also gets the tail.
        tokens, characters = head.astype(dtype), 0
        for piece in document.pieces(PIECE_CHARACTERS, anywhere=tokenizer.changes is None):
            if characters:
                yield Part(tokens, first, characters)
                tokens, first = tokens[:0], False
            tokens, characters = np.concatenate([tokens, encode_kept(tokenizer, piece)]), len(piece)
        yield Part(np.concatenate([tokens, tail.astype(dtype)]), first, characters)


def encode_kept(tokenizer: Tokenizer, text: str) -> np.ndarray:
    """[T] tokens of a text, checked for losses per byte: the tokens' bytes are the text's bytes.

    Raises:
        UsageError: the tokenizer changes the text (to lower case, say), so the loss per byte would be of another text.
    """
    tokens_T = tokenizer.encode(text)
    if tokenizer.changes is None:
        return tokens_T
    same_length = tokenizer.bytes_per_token[tokens_T].sum() == len(text.encode())
    if same_length and not tokenizer.changes:
        return tokens_T
    read = tokenizer.decode(tokens_T)
    if same_length and read == text:
        return tokens_T
    pairs = enumerate(zip(text, read, strict=False))
    first = next((n for n, (there, got) in pairs if there != got), min(len(text), len(read)))
    there, instead = (repr(either[first : first + 20]) for either in (text, read))
    raise UsageError(
        f"the tokenizer changes the text ({tokenizer.changes or 'for an unknown reason'}): it reads {there} as "
        f"{instead}, so bits per byte would be of another text; give a text that it keeps, or another tokenizer"
    )


def _in_memory(parts: Iterator[Part]) -> Tokens:
    tokens, start_D, count = [], [], 0
    for part in parts:
        if part.first:
            start_D.append(count)
        tokens.append(part.tokens)
        count += len(part.tokens)
    return Tokens(np.concatenate(tokens), np.array(start_D, np.int64))


def _write(folder: Path, parts: Iterator[Part], dtype: np.dtype) -> None:
    """Writes `tokens.npy`, `documents.npy`, and `sums.json` with their checksums."""
    start_D, count, digest = [], 0, hashlib.sha256()
    with open(folder / "tokens.npy", "wb") as file:
        _header(file, 0, dtype)
        for part in parts:
            if part.first:
                start_D.append(count)
            data = part.tokens.astype(dtype, copy=False).tobytes()
            file.write(data)
            digest.update(data)
            count += len(part.tokens)
        file.seek(0)
        _header(file, count, dtype)  # same size as the first header: numpy leaves room for the length to grow
    documents = np.array(start_D, np.int64)
    np.save(folder / "documents.npy", documents)
    sums = {"tokens": digest.hexdigest(), "documents": hashlib.sha256(documents.tobytes()).hexdigest()}
    (folder / "sums.json").write_text(json.dumps(sums) + "\n", encoding="utf-8")


def _header(file: Any, count: int, dtype: np.dtype) -> None:
    description = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (count,)}
    np.lib.format.write_array_header_1_0(file, description)


def _load(folder: Path) -> Tokens | None:
    """Memory-maps the tokens; returns None if they are missing or damaged."""
    try:
        sums = json.loads((folder / "sums.json").read_text(encoding="utf-8"))
        names = ("tokens", "documents")
        arrays = [np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in names]
        for name, array in zip(names, arrays, strict=True):
            if hashlib.sha256(array.data).hexdigest() != sums[name]:
                return None
    except Exception:  # the readers of JSON and .npy can raise anything on damaged files
        return None
    # Plain arrays over the mapped memory; slices of a memmap would be memmaps too.
    return Tokens(*(array.view(np.ndarray) for array in arrays))


def _with_progress(parts: Iterator[Part], size: int, name: str, console: Console) -> Iterator[Part]:
    """Yields `parts`; shows a progress bar on a terminal, else prints a line every `QUIET_SECONDS`."""
    named = TextColumn("encoding {task.description}", markup=False)
    columns = named, BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    done, last_line = 0, time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(name, total=size)
        for part in parts:
            yield part
            done += part.characters
            bar.update(task, completed=done)
            if not console.is_terminal and time.monotonic() - last_line > QUIET_SECONDS:
                last_line = time.monotonic()
                console.print(f"encoding {name}: {done / size:.0%}")
