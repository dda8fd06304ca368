"""Sentences of plain texts, and documents in files: what is read, and what is refused in one line."""

import json

import pytest

from xlstm_jax.data.summaries.documents import Document, read, split_sentences
from xlstm_jax.data.summaries.published import SIZES, simulated
from xlstm_jax.errors import UsageError


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("One is here. Two is not! Is three?", ["One is here.", "Two is not!", "Is three?"]),
        ('He said "Go." Then he went (fast). 3 came.', ['He said "Go."', "Then he went (fast).", "3 came."]),
        ("As in Fig. 2 of Smith et al. The end.", ["As in Fig. 2 of Smith et al. The end."]),
        ("J. Smith, e.g. Ada, has 3.5 of it. Dr. X agrees.", ["J. Smith, e.g. Ada, has 3.5 of it.", "Dr. X agrees."]),
        ("It is v2.0 and x.y. so on", ["It is v2.0 and x.y. so on"]),
        (
            "A title\n\nA text over\ntwo lines. Ja. \u00c9t\u00e9 comes.",
            ["A title", "A text over two lines.", "Ja.", "\u00c9t\u00e9 comes."],
        ),
        ("\u201cYes.\u201d \u201cNo.\u201d", ["\u201cYes.\u201d", "\u201cNo.\u201d"]),
        (" \n\n ", []),
    ],
)
def test_sentences(text, sentences):
    assert split_sentences(text) == sentences


def test_nothing_is_lost():
    text = 'One (two). Three! "Four?" 5 is it... Then e.g. Six. \u00dcber 7.5 of 8.'
    assert " ".join(split_sentences(text)) == text


def lines(path, *records):
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_texts_and_lists(tmp_path):
    """And the other keys of SciTLDR, which are left out; sentences without words are none."""
    records = [
        {"source": "One is here. Two is not.", "target": "It is one."},
        {"source": ["a b.", " ", "c\nd"], "target": ["x", "y "], "rouge_scores": [0.1], "title": "T"},
    ]
    wanted = [Document(("One is here.", "Two is not."), ("It is one.",)), Document(("a b.", "c d"), ("x", "y"))]
    assert read(str(lines(tmp_path / "train.jsonl", *records))) == {"train": wanted}
    lines(tmp_path / "test.jsonl", records[1])
    assert read(str(tmp_path)) == {"train": wanted, "test": wanted[1:]}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; give a JSON object per line"),
        (b"\xff\n", "cannot read"),
        (b"[]\n", 'line 1 is not a JSON object with "source" and "target"'),
        (b'{"source": "a"}\n', 'line 1 is not a JSON object with "source" and "target"'),
        (b'{"source": 3, "target": "a"}\n', '"source" must be a text or a list of sentences'),
        (b'{"source": ["a", 3], "target": "a"}\n', '"source" must be a text or a list of sentences'),
        (b'{"source": "a", "target": "a"}\n{"source": [" "], "target": "a"}\n', "line 2 has no words in its source"),
        (b'{"source": "a", "target": []}\n', "line 1 has no words in its target; leave it out"),
    ],
)
def test_refused(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(UsageError, match=message) as caught:
        read(str(tmp_path / "a.jsonl"))
    assert "\n" not in str(caught.value)


def test_files_that_are_not_there(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*none\.jsonl"):
        read(str(tmp_path / "none.jsonl"))
    with pytest.raises(UsageError, match=r"has no train\.jsonl; add it, or give a file's path"):
        read(str(tmp_path))


def test_simulated_documents():
    """One sentence of each begins with the cue, and the summary is from it."""
    parts = simulated()
    assert {name: len(part) for name, part in parts.items()} == SIZES and parts == simulated()
    for document in parts["test"]:
        (shown,) = [sentence for sentence in document.sentences if sentence.startswith("we show that ")]
        assert shown.endswith(document.summaries[0])
