"""What the site takes from the code: docstrings as reStructuredText, the page of knobs, the notebooks."""

import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECTION = re.compile(r"(Args|Attributes|Raises|Returns|Yields|Source|Note):$")
KNOB = re.compile(r"\s+config\.(?P<name>[\w.]+) = (?P<value>.*?)(?:\s+# (?P<comment>.*))?$")


def as_rst(app, what, name, obj, options, lines: list[str]) -> None:
    """Our docstrings are plain text with `code` and indented equations: set those as they stand, escape the rest.

    An indented block is set as it stands, but under a heading such as "Args:", which napoleon reads.
    """
    lines[:] = _as_rst(lines)


def is_plain_field(app, what, name, obj, skip, options) -> bool | None:
    """Skip the fields of a NamedTuple: its signature has them, and Python documents each as an alias for a number."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


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
    made = {"knobs.md": knobs((ROOT / "configs" / "base.py").read_text(encoding="utf-8"))}
    for notebook in sorted((ROOT / "experiments" / "notebooks").glob("*.ipynb")):
        made[f"notebooks/{notebook.name}"] = notebook.read_text(encoding="utf-8")
    for name, text in made.items():
        page = folder / name
        page.parent.mkdir(exist_ok=True)
        if not page.exists() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")


def knobs(source: str) -> str:
    """A table a section of `configs/base.py`: each knob with its default and its comment."""
    tables: dict[str, list[str]] = {}
    above: list[str] = []
    for line in source.splitlines():
        knob = KNOB.match(line)
        if line.startswith("    # "):
            above.append(line.strip(" #"))
        elif knob and not knob["value"].startswith("ConfigDict"):
            comment = "; ".join(filter(None, (" ".join(above), knob["comment"]))).replace("|", "\\|")
            section = knob["name"].rpartition(".")[0] or "run"
            tables.setdefault(section, []).append(f"| `{knob['name']}` | `{knob['value']}` | {comment} |")
        above = above if line.startswith("    # ") else []
    lines = [
        "# Every knob",
        "",
        "Made from `configs/base.py`. `--config.NAME=VALUE` sets one on the command line of `experiments.train`; a",
        "misspelt name or a value of the wrong type is an error that lists what is allowed.",
    ]
    for section, rows in tables.items():
        lines += ["", f"## {section}", "", "| knob | default | what |", "|---|---|---|", *rows]
    return "\n".join(lines) + "\n"
