"""Tagged sentences: files, schemes of tags, spelling, and what is refused."""

import itertools
import json
import random

import numpy as np
import pytest

from tests.mirror import needs_mirror
from xlstm_jax.data.codecs import Vocabulary
from xlstm_jax.data.tagging import published
from xlstm_jax.data.tagging.batches import batch_of, row_of
from xlstm_jax.data.tagging.codec import TaggingCodec
from xlstm_jax.data.tagging.columns import Tagged, read_columns
from xlstm_jax.data.tagging.schemes import all_tags, allowed, in_scheme, spans, written
from xlstm_jax.data.words import MOST_LETTERS, Lexicon, spelling
from xlstm_jax.errors import UsageError

TEXT = "-DOCSTART- -X- O\n\nEU NNP B-ORG\nrejects VBZ O\n\nPeter NNP B-PER\nBlackburn NNP I-PER\n"


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


def test_columns(tmp_path):
    """The first and the last column, with tabs or spaces, with any line ends, without a blank line at the end."""
    wanted = [Tagged(["EU", "rejects"], ["B-ORG", "O"]), Tagged(["Peter", "Blackburn"], ["B-PER", "I-PER"])]
    assert read_columns(write(tmp_path / "a", TEXT)) == wanted
    assert read_columns(write(tmp_path / "b", TEXT.replace(" ", "\t").replace("\n", "\r\n"))) == wanted
    with_space = read_columns(write(tmp_path / "c", "New York\tB-LOC\n"))
    assert with_space == [Tagged(["New York"], ["B-LOC"])]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; give a word and its tag per line"),
        ("\n\n", "is empty"),
        ("EU B-ORG\nrejects\n", "line 2 has 1 columns, and the first line 2"),
        ("EU NNP B-ORG\nrejects O\n", "line 2 has 2 columns, and the first line 3"),
        ("EU ORG\n", "line 1: tag 'ORG' is not allowed; tags are O, B-TYPE"),
        ("EU B-\n", "line 1: tag 'B-' is not allowed"),
        ("EU X-ORG\n", "line 1: tag 'X-ORG' is not allowed"),
    ],
)
def test_bad_columns(tmp_path, text, message):
    with pytest.raises(UsageError, match=message):
        read_columns(write(tmp_path / "train.conll", text))


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read .*train\.conll"):
        published.folder(str(tmp_path))
    (tmp_path / "train.conll").write_bytes(b"\xff\xfe B-X\n")
    with pytest.raises(UsageError, match="give UTF-8 text, a word and its tag per line"):
        published.folder(str(tmp_path))


@pytest.mark.parametrize("scheme", ["iob2", "iobes"])
def test_spans_survive_any_scheme(scheme):
    rng = random.Random(0)
    for _ in range(200):
        found, at, length = [], 0, rng.randint(1, 12)
        while at < length:
            last = min(length - 1, at + rng.randint(0, 2))
            if rng.random() < 0.6:
                found.append((rng.choice(("PER", "LOC")), at, last))
            at = last + 1
        tags = written(found, length, scheme)
        assert spans(tags) == found and in_scheme(in_scheme(tags, "iob2"), scheme) == tags


def test_tags_that_no_scheme_allows_are_read_as_conlleval_does():
    """I after O begins a span, and so does another type."""
    assert spans(["I-A", "I-A", "O", "I-B", "I-A"]) == [("A", 0, 1), ("B", 3, 3), ("A", 4, 4)]
    assert in_scheme(["O", "I-A", "I-B"], "iobes") == ["O", "S-A", "S-B"]


@pytest.mark.parametrize("scheme", ["iob2", "iobes"])
def test_allowed_transitions(scheme):
    """Exactly the tag sequences that a set of spans can be written as."""
    tags = all_tags(("A", "B"), scheme)
    follows, first, last = allowed(tags)
    rng = np.random.default_rng(0)
    seen = set()
    for _ in range(3000):
        path = rng.integers(0, len(tags), rng.integers(1, 4))
        names = [tags[n] for n in path]
        good = in_scheme(names, scheme) == names
        legal = first[path[0]] and last[path[-1]] and all(follows[a, b] for a, b in itertools.pairwise(path))
        assert legal == good, names
        seen.add(good)
    assert seen == {True, False}


def test_spelling():
    names = ("capital", "capitals", "mixed", "digit", "number", "no letters", "punctuation", "not ASCII")
    shown = {
        word: {n for n, on in zip(names, spelling(word), strict=True) if on} for word in ("Mr.", "EU", "iPod", "3.5")
    }
    assert shown == {
        "Mr.": {"capital", "punctuation"},
        "EU": {"capital", "capitals"},
        "iPod": {"mixed"},
        "3.5": {"digit", "number", "no letters", "punctuation"},
    }


def test_rows_and_batches():
    letters = Vocabulary("abcdefghijklmnopqrstuvwxyz")
    words = ["abc", "a" * 15 + "b" * 15]
    lexicon = Lexicon(Vocabulary(["x", "y", "z", words[0], words[1]]), letters)
    row = row_of(lexicon.encode(words), np.array([1, 2], np.int32))
    batch = batch_of([row, row[:1], row[:0]], np.zeros(3), 4)
    assert batch.tokens_BT.tolist() == [[5, 6, 0, 0], [5, 0, 0, 0], [0] * 4]
    assert batch.tags_BT[0].tolist() == [1, 2, 0, 0] and batch.lengths_B.tolist() == [2, 1, 0]
    assert batch.letters_BTL[0, 0].tolist() == [2, 3, 4] + [0] * 17
    assert batch.letters_BTL[0, 1].tolist() == [2] * 10 + [3] * 10 and batch.letters_BTL.shape[2] == MOST_LETTERS
    assert batch.spelling_BTF.dtype == np.float32 and not batch.spelling_BTF[1, 1:].any()


def test_codec():
    sentences = [Tagged(["Room", "12", "open"], ["B-X", "I-X", "O"]), Tagged(["room"], ["O"])]
    codec = TaggingCodec.of(sentences, "iobes", least=1)
    assert codec.tags.names == ("O", "B-X", "I-X", "E-X", "S-X")
    read = TaggingCodec.from_json(json.loads(json.dumps(codec.to_json())))
    row = read.encode_tagged(sentences[0], "train")
    np.testing.assert_array_equal(row, codec.encode_tagged(sentences[0], "train"))
    assert codec.named(row[:, 1]) == ["B-X", "E-X", "O"]
    assert read.encode(["ROOM", "99"])[:, 0].tolist() == row[:2, 0].tolist()  # lower case, and 0 for each digit
    with pytest.raises(UsageError, match="type 'Y' in split 'test' is not one of the training data's: X"):
        codec.encode_tagged(Tagged(["a"], ["B-Y"]), "test")
    with pytest.raises(UsageError, match="the codec is damaged"):
        TaggingCodec.from_json({"kind": "tagging", "scheme": "bio"})


@needs_mirror("nltk/conll2000.zip and wnut17/")
def test_published_data():
    """Sizes as published; CoNLL-2000 has 211,727 and 47,377 words (Tjong Kim Sang & Buchholz 2000)."""
    chunks, entities = published.conll2000(), published.wnut17()
    assert {name: len(part) for name, part in chunks.items()} == {"train": 8936, "test": 2012}
    assert [sum(len(s.words) for s in part) for part in chunks.values()] == [211_727, 47_377]
    assert {name: len(part) for name, part in entities.items()} == {"train": 3394, "validation": 1009, "test": 1287}
    kinds = {kind for s in entities["train"] for kind, _, _ in spans(s.tags)}
    assert kinds == {"person", "location", "corporation", "product", "creative-work", "group"}
    for part in (chunks["test"], entities["train"]):
        assert all(in_scheme(in_scheme(s.tags, "iobes"), "iob2") == s.tags for s in part)
