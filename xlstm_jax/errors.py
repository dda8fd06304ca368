"""The one exception that a user is meant to read."""

import re


class UsageError(ValueError):
    """Something the user gave cannot work; the message is one line: what was given, what is allowed, what to do.

    Command-line programs print it without a traceback and exit with status 2.
    """


class PeerLost(UsageError):
    """Another process of the run has ended, so that this one cannot go on; it must end at once, without waiting."""


def out_of_memory(error: BaseException) -> bool:
    """Whether NumPy's or XLA's memory did not suffice; XLA says so in its text alone, worded by the device."""
    by_xla = isinstance(error, RuntimeError) and re.search(r"RESOURCE_EXHAUSTED|[Oo]ut of memory|bad_alloc", str(error))
    return isinstance(error, MemoryError) or bool(by_xla)


def shown(value: object, limit: int = 60) -> str:
    """What was given, as Python writes it, cut to `limit` characters, for use inside a `UsageError`."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def one_line(error: BaseException, limit: int = 200) -> str:
    """First line of a foreign exception's message, cut to `limit` characters, for use inside a `UsageError`."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= limit else line[: limit - 3] + "..."
