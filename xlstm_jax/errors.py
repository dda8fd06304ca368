"""The exception for user errors, and helpers for its messages."""

import importlib
import re
from types import ModuleType


class UsageError(ValueError):
    """A user's input cannot work. The message is one line: what was given, what is allowed, what to do.

    Command-line programs print it without a traceback and exit with status 2.
    """


class PeerLost(UsageError):
    """Another process of the run has ended, so this one cannot continue and must exit at once, without waiting."""


def optional(module: str, purpose: str, package: str) -> ModuleType:
    """The module of an optional dependency, imported where it is first used.

    Args:
        purpose: what needs it, as a subject with its verb: "BLEU needs".

    Raises:
        UsageError: it cannot be imported.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise UsageError(f"{purpose} the package {package} ({error}); pip install {package}") from error


def out_of_memory(error: BaseException) -> bool:
    """Whether NumPy or XLA ran out of memory; XLA says so only in its message, whose wording depends on the device."""
    by_xla = isinstance(error, RuntimeError) and re.search(r"RESOURCE_EXHAUSTED|[Oo]ut of memory|bad_alloc", str(error))
    return isinstance(error, MemoryError) or bool(by_xla)


def shown(value: object, limit: int = 60) -> str:
    """`repr(value)`, cut to `limit` characters, for use in a `UsageError`."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def one_line(error: BaseException, limit: int = 200) -> str:
    """First line of another exception's message, cut to `limit` characters, for use in a `UsageError`."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= limit else line[: limit - 3] + "..."
