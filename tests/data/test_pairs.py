"""Pairs of texts: files, tokens, batches, published sizes, and what is refused."""

import json

import numpy as np
import pytest

from tests.mirror import needs_mirror
from xlstm_jax.data.pairs import own, published
from xlstm_jax.data.pairs.batches import batch_of, row_of
from xlstm_jax.data.pairs.codec import PairsCodec
from xlstm_jax.data.pairs.published import Pair
from xlstm_jax.errors import UsageError

PAIRS = [Pair("ein Haus", "a house"), Pair("zwei Häuser am See", "two houses by the lake")]


def write(folder, **files):
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text, encoding="utf-8")
    return str(folder)


def test_forms_of_files(tmp_path):
    tabbed = "".join(f"{source}\t{target}\n" for source, target in PAIRS)
    objects = "".join(json.dumps(pair._asdict()) + "\n" for pair in PAIRS)
    sides = ("".join(f"{pair[side]}\r\n" for pair in PAIRS) for side in (0, 1))
    source, target = sides
    write(tmp_path, train_tsv=tabbed, validation_jsonl=objects, test_source=source, test_target=target)
    assert own.read(str(tmp_path)) == {"train": PAIRS, "validation": PAIRS, "test": PAIRS}


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "has no train.tsv, train.jsonl or train.source; give one of them"),
        ({"train_tsv": ""}, "is empty; give a pair per line"),
        ({"train_tsv": "a\tb\na b\n"}, "line 2 has 1 columns; write the source, a tab, the target"),
        ({"train_tsv": "a\t\n"}, "line 1 lacks a target; add it"),
        ({"train_tsv": " \tb\n"}, "line 1 lacks a source; add it"),
        ({"train_jsonl": '{"source": "a"}\n'}, 'line 1 is not a JSON object with "source" and "target"'),
        ({"train_jsonl": '{"source": "a", "target": 3}\n'}, 'line 1: "source" and "target" must be strings'),
        ({"train_source": "a\nb\n", "train_target": "a\n"}, "has 2 lines and train.target 1; give one for each"),
        ({"train_source": "a\n"}, "cannot read .*train.target"),
    ],
)
def test_bad_files(tmp_path, files, message):
    with pytest.raises(UsageError, match=message):
        own.read(write(tmp_path, **files))


@pytest.mark.parametrize("unit", ["words", "bpe"])
def test_codec(unit):
    """Texts come back; what is no text is left out; the codec survives as JSON."""
    codec = PairsCodec.of(PAIRS, unit, vocab_size=280, least=1)
    read = PairsCodec.from_json(json.loads(json.dumps(codec.to_json())))
    assert read.vocab_size == codec.vocab_size == codec.target.vocab_size + 2
    for source, target in PAIRS:
        tokens_S, tokens_T = codec.encode(source), codec.encode_target(target)
        assert tokens_S.min() > 0 and tokens_T[-1] == codec.end and tokens_S.dtype == tokens_T.dtype == np.int32
        assert read.decode(tokens_S) == source and read.decode_target(tokens_T) == target
        assert read.decode_target([codec.begin, *tokens_T, *tokens_T, 0]) == target
        assert "".join(codec.pieces(tokens_T[:-1], target=True)).replace(" ", "") == target.replace(" ", "")
    for damaged in ({"kind": "pairs", "unit": "letters"}, {"kind": "other"}, []):
        with pytest.raises(UsageError, match="the codec is damaged; kind 'pairs'"):
            PairsCodec.from_json(damaged)


def test_batches():
    row = row_of(np.array([3, 4, 5], np.int32), np.array([6, 9], np.int32))
    batch = batch_of([row, row[:0]], np.zeros(2), 4)
    assert batch.source_BS.tolist() == [[3, 4, 5, 0], [0] * 4] and batch.target_BT.tolist() == [[6, 9, 0, 0], [0] * 4]
    assert batch.source_lengths_B.tolist() == [3, 0] and batch.lengths_B.tolist() == [2, 0]


@needs_mirror("multi30k/ and scan/")
def test_published_data():
    pairs = published.multi30k("de", "en")
    assert {name: len(part) for name, part in pairs.items()} == {"train": 29_000, "validation": 1_014, "test": 1_000}
    assert pairs["test"][0] == (
        "Ein Mann mit einem orangefarbenen Hut, der etwas anstarrt.",
        "A man in an orange hat starring at something.",
    )
    assert published.multi30k("en", "de")["test"][0] == pairs["test"][0][::-1]
    sizes = {"simple": (16_728, 4_182), "length": (16_990, 3_920), "jump": (14_670, 7_706)}
    for split, wanted in sizes.items():
        parts = published.scan(split)
        assert (len(parts["train"]), len(parts["test"])) == wanted
    longest = [max(len(pair.target.split()) for pair in published.scan("length")[part]) for part in ("train", "test")]
    assert longest == [22, 48]
