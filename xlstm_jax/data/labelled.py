"""Labelled texts: the Stanford Sentiment Treebank, and a folder of JSON lines; how texts become words."""

import re
from pathlib import Path
from typing import Literal

from xlstm_jax.data import sst
from xlstm_jax.data.labelled_files import read_json_lines
from xlstm_jax.errors import UsageError

BINARY = ("negative", "positive")

MOST_WORDS = 1000  # of an example to predict

Unit = Literal["words", "characters"]
Example = tuple[list[str], str]  # words or characters, label


def clitics_apart(text: str) -> str:
    """The text with a space before clitics such as n't and 's, as the treebank has them."""
    return re.sub(r"(?i)(n't|'(?:s|re|ve|ll|d|m))\b", r" \1", text)


def split_words(text: str) -> list[str]:
    """The words and punctuation marks of a sentence, with clitics such as n't apart, as the treebank writes them."""
    text = clitics_apart(text.replace("\u2019", "'"))
    return re.findall(r"(?i:n't)|'\w+|\w+(?:[-.]\w+)*|\.{2,}|--|[^\w\s]", text)


def pieces(text: str, unit: Unit) -> list[str]:
    """The words of a text, or its characters with one space between words."""
    return split_words(text) if unit == "words" else list(" ".join(text.split()))


def check_words(words: list[str]) -> list[str]:
    """The words of a user's sentence; `UsageError` if there are none, or more than `MOST_WORDS`."""
    if not words:
        raise UsageError("the input is empty; give a sentence")
    if len(words) > MOST_WORDS:
        raise UsageError(f"the input has {len(words)} words; give at most {MOST_WORDS}")
    return words


def treebank_labels(classes: Literal[2, 5]) -> tuple[str, ...]:
    """The names of the treebank's classes, from negative to positive."""
    return BINARY if classes == 2 else sst.SENTIMENTS


def treebank(classes: Literal[2, 5], *, phrases: bool) -> dict[str, list[Example]]:
    """The splits of SST. With `phrases`, the training split has every phrase, once for each sentiment that it has.

    With 2 classes, the very negative count as negative, the very positive as positive, and the neutral are left out.
    """
    examples, names = {}, treebank_labels(classes)
    for split in sst.SPLITS:
        trees = sst.read(split)
        if split == "train" and phrases:
            trees = [phrase for tree in trees for phrase in tree.phrases()]
        rows = [(tuple(tree.words()), tree.sentiment) for tree in trees]
        rows = list(dict.fromkeys(rows)) if split == "train" else rows
        if classes == 2:
            rows = [(words, int(sentiment > 2)) for words, sentiment in rows if sentiment != 2]
        examples[split] = [(list(words), names[number]) for words, number in rows]
    return examples


def folder(path: str) -> dict[str, list[Example]]:
    """The splits in a folder: train.jsonl, validation.jsonl and, if it is there, test.jsonl.

    Each line is a JSON object with "text", a string, and "label", a string or an integer.

    Raises:
        UsageError: a file is missing, empty or not UTF-8, or a line is not such an object.
    """
    examples = {}
    for split in sst.SPLITS:
        file = Path(path).expanduser() / f"{split}.jsonl"
        if file.is_file() or split != "test":
            examples[split] = [(split_words(text), label) for text, label in read_json_lines(file)]
    return examples
