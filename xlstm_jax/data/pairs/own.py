"""Pairs of texts in a folder of the user's own: tab-separated, JSON lines, or two files of equally many lines."""

from pathlib import Path

from xlstm_jax.data.lines import read_lines, read_object
from xlstm_jax.data.pairs.published import Pair
from xlstm_jax.errors import UsageError

SPLITS = ("train", "validation", "test")


def read(path: str) -> dict[str, list[Pair]]:
    """The splits in a folder: of train and perhaps of validation and test, one of

        train.tsv                       the source, a tab, and the target in each line
        train.jsonl                     JSON objects with "source" and "target"
        train.source, train.target      a text in each line

    Raises:
        UsageError: there is no part for training, or a file is empty, not UTF-8 or not of that form.
    """
    folder = Path(path).expanduser()
    parts = {split: pairs for split in SPLITS if (pairs := _part(folder, split))}
    if "train" not in parts:
        raise UsageError(f"{str(folder)!r} has no train.tsv, train.jsonl or train.source; give one of them")
    return parts


def _part(folder: Path, split: str) -> list[Pair]:
    """The pairs of a split; none if it has no file."""
    source = folder / f"{split}.source"
    if source.is_file():
        target = folder / f"{split}.target"
        texts = read_lines(source, "a text"), read_lines(target, "a text")
        if len(texts[0]) != len(texts[1]):
            raise UsageError(
                f"{str(source)!r} has {len(texts[0])} lines and {target.name} {len(texts[1])}; give one for each"
            )
        return [_pair(source, n, *pair) for n, pair in enumerate(zip(*texts, strict=True), start=1)]
    for name, parse in ((f"{split}.tsv", _tabbed), (f"{split}.jsonl", _object)):
        if (file := folder / name).is_file():
            return [_pair(file, n, *parse(file, n, line)) for n, line in enumerate(read_lines(file, "a pair"), start=1)]
    return []


def _tabbed(path: Path, number: int, line: str) -> tuple[str, str]:
    parts = line.split("\t")
    if len(parts) != 2:
        raise UsageError(f"{str(path)!r} line {number} has {len(parts)} columns; write the source, a tab, the target")
    return parts[0], parts[1]


def _object(path: Path, number: int, line: str) -> tuple[str, str]:
    source, target = read_object(line, f"{str(path)!r} line {number}", "source", "target")
    if not isinstance(source, str) or not isinstance(target, str):
        raise UsageError(f'{str(path)!r} line {number}: "source" and "target" must be strings')
    return source, target


def _pair(path: Path, number: int, source: str, target: str) -> Pair:
    if not source.strip() or not target.strip():
        raise UsageError(f"{str(path)!r} line {number} lacks a {'source' if not source.strip() else 'target'}; add it")
    return Pair(source.strip(), target.strip())
