"""The console for people: a line is printed as it is, whatever a path or a text in it holds."""

from typing import Any

from rich.console import Console


def plain_console(**options: Any) -> Console:
    """A `rich.console.Console` that takes no `[i]` for markup, no `:x:` for an emoji, and breaks no line by itself.

    Print tables with `soft_wrap=False`, so that they fit the terminal.
    """
    return Console(markup=False, emoji=False, highlight=False, soft_wrap=True, **options)


def say(line: str) -> None:
    """Print a line on standard error, for a problem that does not end the program."""
    plain_console(stderr=True).print(line)
