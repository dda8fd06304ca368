"""Files of tagged words, as the CoNLL shared tasks have them: a word per line, a blank line after each sentence."""

from pathlib import Path
from typing import NamedTuple

from xlstm_jax.data.lines import read_lines
from xlstm_jax.data.tagging.schemes import OUTSIDE
from xlstm_jax.errors import UsageError, shown

LETTERS = "BIES"


class Tagged(NamedTuple):
    """A sentence."""

    words: list[str]
    tags: list[str]


def read_columns(path: Path) -> list[Tagged]:
    """The sentences of a file: the word is the first column of a line, the tag the last.

    Columns are separated by tabs or, in lines without tabs, by spaces. Lines that begin with -DOCSTART- are left out.

    Raises:
        UsageError: the file is missing, empty or not UTF-8; a line has one column, or another number of columns than
            the first one; or a tag is not O and does not begin with B-, I-, E- or S-.
    """
    sentences, sentence, columns = [], Tagged([], []), 0
    for number, line in enumerate(read_lines(path, "a word and its tag"), start=1):
        if not line.strip() or line.startswith("-DOCSTART-"):
            sentence = _ended(sentence, sentences)
            continue
        parts = line.split("\t") if "\t" in line else line.split()
        columns = columns or len(parts)
        _check(parts, columns, f"{str(path)!r} line {number}")
        sentence.words.append(parts[0])
        sentence.tags.append(parts[-1].strip())
    _ended(sentence, sentences)
    if not sentences:
        raise UsageError(f"{str(path)!r} is empty; give a word and its tag per line")
    return sentences


def _ended(sentence: Tagged, sentences: list[Tagged]) -> Tagged:
    """Adds a sentence unless it is empty; returns the next one."""
    if not sentence.words:
        return sentence
    sentences.append(sentence)
    return Tagged([], [])


def _check(parts: list[str], columns: int, where: str) -> None:
    if len(parts) < 2 or len(parts) != columns or not parts[0].strip():
        raise UsageError(
            f"{where} has {len(parts)} columns, and the first line {columns}; write a word and its tag in each line, "
            "with the same number of columns"
        )
    tag = parts[-1].strip()
    if tag != OUTSIDE and not (tag[0:1] in (*LETTERS,) and tag[1:2] == "-" and len(tag) > 2):
        raise UsageError(f"{where}: tag {shown(tag)} is not allowed; tags are O, B-TYPE, I-TYPE, E-TYPE and S-TYPE")
