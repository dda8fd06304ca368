"""The one exception that a user is meant to read."""


class UsageError(ValueError):
    """Something the user gave cannot work; the message is one line: what was given, what is allowed, what to do.

    Command-line programs print it without a traceback and exit with status 2.
    """


class PeerLost(UsageError):
    """Another process of the run has ended, so that this one cannot go on; it must end at once, without waiting."""


def shown(value: object, limit: int = 60) -> str:
    """What was given, as Python writes it, cut to `limit` characters, for use inside a `UsageError`."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def one_line(error: BaseException, limit: int = 200) -> str:
    """First line of a foreign exception's message, cut to `limit` characters, for use inside a `UsageError`."""
    text = str(error).strip() or type(error).__name__
    line = text.splitlines()[0]
    return line if len(line) <= limit else line[: limit - 3] + "..."
