"""Text files, line by line, and lists in a line."""

import json
from pathlib import Path
from typing import Any

from xlstm_jax.errors import UsageError, one_line


def read_lines(path: Path, wanted: str) -> list[str]:
    """The lines of a UTF-8 file, without line ends; at least one.

    Args:
        wanted: what a line holds, for messages.

    Raises:
        UsageError: the file cannot be read, is not UTF-8 or empty.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:  # not UTF-8, or a null byte in the path
        raise UsageError(f"cannot read {str(path)!r}: {one_line(error)}; give UTF-8 text, {wanted} per line") from error
    # Not `splitlines`, which also cuts at characters such as U+2028, which a text may hold.
    lines = [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]
    if lines == [""]:
        raise UsageError(f"{str(path)!r} is empty; give {wanted} per line")
    return lines


def json_strings(text: str) -> list[str]:
    """The strings of a JSON list; empty for any other text, and if one of them is empty."""
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return []
    good = isinstance(words, list) and all(isinstance(word, str) and word for word in words)
    return words if good else []


def read_object(line: str, where: str, *keys: str) -> list[Any]:
    """The values of the keys in a line that is a JSON object.

    Args:
        where: the file and the line's number, for messages.

    Raises:
        UsageError: the line is no JSON object, or lacks a key.
    """
    try:
        record = json.loads(line)
        return [record[key] for key in keys]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        wanted = " and ".join(f'"{key}"' for key in keys)
        raise UsageError(f"{where} is not a JSON object with {wanted}; write one per line") from error
