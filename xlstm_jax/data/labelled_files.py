"""Labelled texts in files of the user's own: CSV, JSON lines, or plain texts in a folder by class."""

from pathlib import Path

from xlstm_jax.data.lines import read_lines, read_object
from xlstm_jax.data.parts import PARTS, part_files
from xlstm_jax.data.series.table import read_rows
from xlstm_jax.errors import UsageError, shown

Labelled = tuple[str, str]  # text, label
COLUMNS = ("text", "label")


def read(path: str) -> dict[str, list[Labelled]]:
    """The parts "train" and perhaps "validation" and "test" of a file or a folder, which is one of

        reviews.csv                        the columns "text" and "label"; all rows are "train"
        reviews.jsonl                      JSON objects with "text" and "label"
        folder/train.csv, test.jsonl ...   a file for each part
        folder/de.txt, folder/fr.txt       a text in each line, whose label is the name of the file
        folder/de/*.txt, folder/fr/*.txt   the same, with the folder's name
        folder/train/de/*.txt ...          the same for each part

    Raises:
        UsageError: there is no such file, or one is empty, not UTF-8, or damaged.
    """
    root = Path(path).expanduser()
    readers = {".csv": read_table, ".tsv": read_table, ".jsonl": read_json_lines}
    if not root.is_dir():
        if root.suffix.lower() not in readers:
            raise UsageError(
                f"{str(root)!r} is no folder, and its ending none of {', '.join(readers)}; give texts with labels, or "
                "the folder with a .txt file for each class"
            )
        return {"train": readers[root.suffix.lower()](root)}
    if files := part_files(root, tuple(readers)):
        if "train" not in files:
            raise UsageError(f"{str(root)!r} has no file for training; add train.csv or train.jsonl")
        return {part: readers[file.suffix.lower()](file) for part, file in files.items()}
    if (root / "train").is_dir():
        return {part: read_classes(root / part) for part in PARTS if (root / part).is_dir()}
    return {"train": read_classes(root)}


def read_table(path: Path) -> list[Labelled]:
    """The rows of a CSV file with the columns "text" and "label", and perhaps others."""
    (_, header), *rows = read_rows(path, "a header with text and label, and a text per row")
    header = [cell.strip() for cell in header]
    for name in COLUMNS:
        if header.count(name) != 1:
            raise UsageError(
                f"{str(path)!r} has {header.count(name) or 'no'} columns {name!r}; it has "
                f"{shown(', '.join(header), 200)}; call one column 'text' and one 'label'"
            )
    places, found = [header.index(name) for name in COLUMNS], []
    for number, row in rows:
        where = f"{str(path)!r} line {number}"
        if len(row) != len(header):
            raise UsageError(f"{where} has {len(row)} cells, and the header {len(header)}; put quotes around texts")
        text, label = (row[place].strip() for place in places)
        if not text or not label:
            raise UsageError(f"{where} has no {'label' if text else 'text'}; give one, or leave the line out")
        found.append((text, label))
    return found


def read_json_lines(path: Path) -> list[Labelled]:
    """The lines of a file, each a JSON object with "text", a string, and "label", a string or an integer."""
    return [_object(path, number, line) for number, line in enumerate(read_lines(path, "a JSON object"), start=1)]


def _object(path: Path, number: int, line: str) -> Labelled:
    where = f"{str(path)!r} line {number}"
    text, label = read_object(line, where, *COLUMNS)
    if not isinstance(text, str) or not isinstance(label, str | int) or not text.strip():
        raise UsageError(f'{where}: "text" must be a string with at least one word, "label" a string or an integer')
    return text, str(label)


def read_classes(root: Path) -> list[Labelled]:
    """The lines, but for empty ones, of `NAME.txt` and `NAME/*.txt` for each class NAME of a folder."""
    found = []
    for entry in sorted(root.iterdir()):
        files = sorted(entry.glob("*.txt")) if entry.is_dir() else [entry] if entry.suffix == ".txt" else []
        name = entry.name if entry.is_dir() else entry.stem
        texts = [line.strip() for file in files for line in read_lines(file, "a text")]
        found += [(text, name) for text in texts if text]
    if not found:
        raise UsageError(
            f"{str(root)!r} has no labelled texts; give train.csv or train.jsonl, or a .txt file for each class"
        )
    return found
