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


def tracked(items: Any, what: str, *, unless: bool = False) -> Any:
    """The items, with a progress bar on standard error while they are worked on, if it is a terminal."""
    from rich.progress import track

    console = plain_console(stderr=True)
    return track(items, what, console=console, transient=True, disable=unless or not console.is_terminal)
