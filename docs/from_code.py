"""What the site takes from the code: docstrings as reStructuredText, the page of knobs, the notebooks."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, get_args, get_origin

ROOT = Path(__file__).parent.parent
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Source|Note):$")
FIELD = re.compile(r"    (?P<name>\w+): .*?(?:\s+# (?P<comment>.*))?$")


def as_rst(app, what, name, obj, options, lines: list[str]) -> None:
    """Our docstrings are plain text with `code` and indented equations: set those as they stand, escape the rest.

    An indented block is kept as it is, but under a heading such as "Args:", which napoleon reads.
    """
    lines[:] = _as_rst(lines)


def is_plain_field(app, what, name, obj, skip, options) -> bool | None:
    """Skips the fields of a NamedTuple, which its signature lists, and attributes that hold a class.

    Python documents the former as aliases for numbers; autodoc would describe the latter a second time.
    """
    alias = (getattr(obj, "__doc__", None) or "").startswith("Alias for field number")
    return True if alias or (isinstance(obj, type) and obj.__name__ != name) else None


def _as_rst(lines: list[str]) -> Iterator[str]:
    in_section = in_block = False
    for line in lines:
        indented = line.startswith(" ")
        if line.strip() and not indented:
            in_section = bool(SECTION.fullmatch(line))
            if in_block:
                in_block = False
                yield ""
        elif indented and not in_section and not in_block:
            in_block = True
            yield from ("", "::", "")
        yield line if in_block else _escaped(line)


def _escaped(line: str) -> str:
    """`*`, `|` and a word's last `_` are letters here, outside of `code`."""
    parts = re.split(r"(`[^`]*`)", line)
    parts[::2] = [re.sub(r"([*|]|(?<=\w)_(?!\w))", r"\\\1", part) for part in parts[::2]]
    parts[2::2] = [re.sub(r"^(?=\w)", r"\\ ", part) for part in parts[2::2]]  # what follows `code` without a space
    return "".join(parts)


def write(folder: Path) -> None:
    """The page of knobs and the notebooks, in `folder`; one that has not changed stays, and is not built again."""
    made = {"knobs.md": knobs()}
    for notebook in sorted((ROOT / "experiments" / "notebooks").glob("*.ipynb")):
        made[f"notebooks/{notebook.name}"] = notebook.read_text(encoding="utf-8")
    for name, text in made.items():
        page = folder / name
        page.parent.mkdir(exist_ok=True)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def knobs() -> str:
    """A table for each section of a config: every key with its default and what it is."""
    from xlstm_jax.tasks import TASKS
    from xlstm_jax.train.sections import COMMON, kinds

    lines = [
        "# Every knob",
        "",
        "Made from the dataclasses that the sections of a config become. `--config.NAME=VALUE` sets a key on the",
        "command line of `experiments.train`; a misspelt name or a value of the wrong type is an error that lists what",
        "is allowed. The keys `task`, `seed` and `plugins` are explained in `configs/base.py`.",
    ]
    for name, kind in COMMON.items():
        lines += _table(name, kind)
    models = dict.fromkeys(TASKS.get(task).Model for task in TASKS.names())
    for model in models:
        users = ", ".join(task for task in TASKS.names() if TASKS.get(task).Model is model)
        lines += _table("model", model, f" of {users}" if len(models) > 1 else "")
    for name, kind in next(iter(models)).nested().items():
        lines += _table(f"model.{name}", kind)
    for task in TASKS.names():
        for name in ("data", "sample"):
            lines += _table(name, kinds(TASKS.get(task))[name], f" of {task}")
    return "\n".join(lines) + "\n"


def _table(name: str, kind: type, whose: str = "") -> list[str]:
    from xlstm_jax.config import knobs as defaults

    comments, values = explained(kind), defaults(kind)
    plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
    choices = {
        field.name: get_args(field.type) for field in dataclasses.fields(kind) if get_origin(field.type) is Literal
    }
    comments |= {
        key: f"{comments.get(key, '').rstrip('.')}: {' | '.join(map(str, allowed))}" for key, allowed in choices.items()
    }
    rows = [f"| `{name}.{key}` | `{value!r}` | {_cell(comments.get(key, ''))} |" for key, value in plain.items()]
    head = ["", f"## {name}{whose}", "", "| key | default | what |", "|---|---|---|"]
    return [*head, *rows] if rows else []


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def explained(kind: type) -> dict[str, str]:
    """The comments of a dataclass's fields by name: at the end of a field's line, and in the lines above it."""
    found: dict[str, str] = {}
    for owner in reversed(kind.__mro__):
        if not dataclasses.is_dataclass(owner):
            continue
        above: list[str] = []
        for line in inspect.getsource(owner).splitlines():
            field = FIELD.match(line)
            if line.startswith("    # "):
                above.append(line.strip(" #"))
                continue
            if field and field["name"] in owner.__annotations__:
                found[field["name"]] = "; ".join(filter(None, (" ".join(above), field["comment"])))
            above = []
    return found
