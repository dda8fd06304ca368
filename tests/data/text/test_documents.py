"""Documents as bytes: the results of Python's strings, with the memory of the bytes."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xlstm_jax.data.text import documents
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.data.text.corpus import Corpus
from xlstm_jax.data.text.documents import CUT, Document
from xlstm_jax.data.text.sources import Source
from xlstm_jax.data.text.tokenizers import ByteTokenizer, CharTokenizer

TEXT = "the cat\n\n sat \non\né日\n🙂\nmat.\n\tIt\n\u00a0sat there \n\n\n and\nran\n\ud800\n" * 5


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    monkeypatch.setattr(documents, "BLOCK_BYTES", 16)


def test_a_document_is_its_text():
    document = Document.of(TEXT)
    assert (str(document), len(document), bool(document), bool(Document.of(""))) == (TEXT, len(TEXT), True, False)
    for cut in range(len(TEXT) + 1):
        assert tuple(map(str, document.divided(cut))) == (TEXT[:cut], TEXT[cut:])
    for separator in ("\n", "\n\n", "the", "é日", "none"):
        assert list(map(str, document.split(separator))) == TEXT.split(separator)
        assert list(map(str, document.divided(9)[1].split(separator))) == TEXT[9:].split(separator)


@pytest.mark.parametrize("size", [1, 9, 40, 10_000])
def test_pieces(size):
    """Cut at the first single line break after `size` characters, regardless of the blocks."""
    wanted, start = [], 0
    while start < len(TEXT):
        cut = CUT.search(TEXT, start + size)
        wanted.append(TEXT[start : cut.end() if cut else len(TEXT)])
        start += len(wanted[-1])
    assert list(Document.of(TEXT).pieces(size)) == wanted
    anywhere = list(Document.of(TEXT).pieces(size, anywhere=True))
    assert "".join(anywhere) == TEXT and {len(piece) for piece in anywhere[:-1]} <= {size}


@given(st.binary(max_size=60))
@settings(deadline=None)
def test_what_is_no_utf8_is_named_as_python_does(data):
    """Also if a block ends inside a character."""
    try:
        wanted = data.decode()
    except UnicodeDecodeError as error:
        with pytest.raises(UnicodeDecodeError) as caught:
            Document.from_bytes(data)
        assert caught.value.start == error.start
    else:
        assert str(Document.from_bytes(data)) == wanted


def test_byte_pairs_from_pieces(monkeypatch):
    """Training on pieces gives the pairs of the whole text."""
    text = TEXT.replace("\ud800", "")
    whole = BPETokenizer.from_text(text, vocab_size=290).to_json()
    monkeypatch.setattr(Document.pieces, "__defaults__", (9,))
    assert len(list(Document.of(text).pieces())) > 8
    assert BPETokenizer.from_text(text, vocab_size=290).to_json() == whole


@pytest.mark.parametrize("kind", ["byte", "char"])
def test_one_wide_character_does_not_widen_the_text(tmp_path, monkeypatch, kind):
    """A text of 20 MB with one emoji is cut, made into a vocabulary and encoded with at most three times its memory."""
    monkeypatch.setattr(documents, "BLOCK_BYTES", 1 << 20)
    monkeypatch.setenv("XLSTM_JAX_CACHE", str(tmp_path / "cache"))
    size = 20_000_000
    (tmp_path / "text.txt").write_bytes("🙂".encode() + b"the cat sat on the mat\n" * (size // 23))
    tracemalloc.start()
    try:
        corpus = Corpus(Source("", str(tmp_path / "text.txt")), 0.9, packed=False)
        tokenizer = {"byte": ByteTokenizer, "char": CharTokenizer}[kind].from_text(*corpus.texts(train_only=False))
        tokens = corpus.splits(tokenizer)["all"].tokens_N
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(tokens) == {"byte": size // 23 * 23 + 4, "char": size // 23 * 23 + 1}[kind]
    assert peak < 3 * size and np.asarray(tokens[-4:]).tolist() == tokenizer.encode("mat\n").tolist()
