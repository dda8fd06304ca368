"""Documents in sentences with their summaries: in files of the user's own, or a plain text cut into sentences."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from xlstm_jax.data.labelled import split_words
from xlstm_jax.data.lines import read_lines, read_object
from xlstm_jax.data.parts import part_files
from xlstm_jax.errors import UsageError

# Words after which a full stop ends no sentence: a letter, and abbreviations.
SHORT = re.compile(r"(?i)\w|al|approx|cf|dr|eqs?|et|etc|figs?|mrs?|ms|no|prof|resp|sec|st|vs")


class Document(NamedTuple):
    """A text and what people wrote as its summary."""

    sentences: tuple[str, ...]
    summaries: tuple[str, ...]


def split_sentences(text: str) -> list[str]:
    """The sentences of a plain text.

    A sentence ends with a full stop, an exclamation or question mark, perhaps with quotation marks or brackets after
    it, if then a capital letter or a digit follows, perhaps after quotation marks or brackets; or with a blank line. A
    full stop after one letter, as in J. or e.g., or after an abbreviation such as Fig. or et al. ends no sentence.
    """
    sentences = []
    for paragraph in re.split(r"\n\s*\n", text):
        start = 0
        for end in re.finditer(r"[.!?][\"'\u201d\u2019)\]]*\s+(?=[\"'\u201c\u2018(\[]*[^\W_a-z])", paragraph):
            word = re.search(r"(\w*)$", paragraph[start : end.start()])[1]
            if paragraph[end.start()] != "." or not SHORT.fullmatch(word):
                sentences.append(paragraph[start : end.end()])
                start = end.end()
        sentences.append(paragraph[start:])
    return kept(sentences)


def kept(sentences: Sequence[str]) -> list[str]:
    """The sentences that have words, in one line each."""
    lines = (" ".join(sentence.split()) for sentence in sentences)
    return [line for line in lines if split_words(line)]


def read_documents(path: Path) -> list[Document]:
    """The lines of a file, each a JSON object.

    "source" is a text or a list of sentences, "target" a summary or a list of summaries. Other keys are left out. The
    form is that of SciTLDR.
    """
    return [_document(path, number, line) for number, line in enumerate(read_lines(path, "a JSON object"), start=1)]


def _document(path: Path, number: int, line: str) -> Document:
    where = f"{str(path)!r} line {number}"
    source, target = read_object(line, where, "source", "target")
    if not _is_texts(source) or not _is_texts(target):
        raise UsageError(
            f'{where}: "source" must be a text or a list of sentences, and "target" a summary or a list of summaries'
        )
    sentences = split_sentences(source) if isinstance(source, str) else kept(source)
    summaries = kept([target] if isinstance(target, str) else target)
    if not sentences or not summaries:
        raise UsageError(f"{where} has no words in its {'source' if not sentences else 'target'}; leave it out")
    return Document(tuple(sentences), tuple(summaries))


def _is_texts(value: Any) -> bool:
    return isinstance(value, str) or (isinstance(value, list) and all(isinstance(part, str) for part in value))


def read(path: str) -> dict[str, list[Document]]:
    """The parts of a file, which is all "train", or of a folder.

    A folder has train.jsonl and perhaps validation.jsonl and test.jsonl.

    Raises:
        UsageError: there is no such file, or one is empty, not UTF-8, or damaged.
    """
    root = Path(path).expanduser()
    if not root.is_dir():
        return {"train": read_documents(root)}
    files = part_files(root, (".jsonl",))
    if "train" not in files:
        raise UsageError(f"{str(root)!r} has no train.jsonl; add it, or give a file's path")
    return {part: read_documents(file) for part, file in files.items()}
