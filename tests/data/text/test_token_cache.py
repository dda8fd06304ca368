"""Tokens on disk: written once, then memory-mapped, and written again if damaged."""

import os
import pathlib

import numpy as np
import pytest

from tests.mirror import needs_mirror
from tests.untrusted import hostile_array
from xlstm_jax.data.text import token_cache
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.data.text.documents import Document
from xlstm_jax.data.text.token_cache import Framed, tokenised
from xlstm_jax.data.text.tokenizers import TOKENIZERS, ByteTokenizer, CharTokenizer
from xlstm_jax.errors import UsageError

START, END = np.array([1]), np.array([7])
DOCUMENTS = [
    Framed(Document.of(text), head, tail)
    for text, head, tail in (("ab\ncd", END[:0], END), ("é", END[:0], END[:0]), ("wxyz", START, END))
]
DEEP = b"[" * 100_000  # more brackets than a parser can nest
WANTED, STARTS = b"ab\ncd\x07" + "é".encode() + b"\x01wxyz\x07", [0, 6, 8]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XLSTM_JAX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "tokens"


def encode(documents=DOCUMENTS, tokenizer=None):
    return tokenised(documents, "key", tokenizer or ByteTokenizer(), 10, "test")


def assert_right(tokens):
    assert tokens.tokens_N.dtype == np.uint8 and bytes(tokens.tokens_N) == WANTED
    assert tokens.start_D.dtype == np.int64 and tokens.start_D.tolist() == STARTS


def test_encoded_once_and_mapped(folder):
    assert_right(encode())
    again = encode(iter(()))
    assert_right(again)
    assert type(again.tokens_N) is np.ndarray and isinstance(again.tokens_N.base, np.memmap)
    assert not again.tokens_N.flags.writeable
    assert [path.name for path in folder.iterdir()] == ["key"]
    np.testing.assert_array_equal(np.load(folder / "key" / "tokens.npy", mmap_mode="r"), again.tokens_N)


@pytest.mark.parametrize("name", ["tokens.npy", "documents.npy", "sums.json"])
@pytest.mark.parametrize("harm", ["cut", "empty", "changed", "garbage", "missing", "deep"])
def test_damage_is_noticed(folder, capsys, name, harm):
    encode()
    path = folder / "key" / name
    data = path.read_bytes()
    if harm == "missing":
        path.unlink()
    else:
        changed = data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]
        deep = (
            DEEP if name == "sums.json" else b"\x93NUMPY\x01\x00" + len(DEEP[:9000]).to_bytes(2, "little") + DEEP[:9000]
        )
        harms = {"cut": data[:-2], "empty": b"", "changed": changed, "garbage": b"\x00garbage", "deep": deep}
        path.write_bytes(harms[harm])
    if (name, harm) == ("sums.json", "cut"):
        path.write_bytes(data[:-20])  # the last two bytes are a bracket and a newline
    assert_right(encode())
    assert "are damaged; encoding them again" in capsys.readouterr().err
    assert path.read_bytes() == data
    assert_right(encode(iter(())))


@pytest.mark.parametrize("name", ["tokens.npy", "documents.npy"])
def test_a_pickle_is_not_read(folder, tmp_path, capsys, name):
    """It counts as damage."""
    encode()
    np.save(folder / "key" / name, hostile_array(tmp_path / "trace"))
    assert_right(encode())
    assert "are damaged; encoding them again" in capsys.readouterr().err
    assert not (tmp_path / "trace").exists()


def test_a_failed_encoding_leaves_nothing(folder):
    with pytest.raises(UsageError, match="outside the vocabulary"):
        encode(tokenizer=CharTokenizer("\nabcd"))
    assert list(folder.iterdir()) == []


def test_no_folder_to_write_to(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XLSTM_JAX_CACHE", str(tmp_path / "file"))
    assert_right(encode())
    assert "cannot save tokens of test" in (shown := capsys.readouterr().err) and "keeping them in memory" in shown
    assert shown.count("\n") == 1


@pytest.mark.parametrize("kind", TOKENIZERS.names())
def test_long_documents_are_encoded_in_parts(folder, monkeypatch, kind):
    """The tokens of all parts are those of the whole document."""
    text = "the cat\n\n sat \non\nthe mat.\n\tIt\nsat there \n\n\n and\nran\n" * 4
    tokenizer = TOKENIZERS.get(kind).from_text(text, vocab_size=290)
    parts = []
    monkeypatch.setattr(token_cache, "PIECE_CHARACTERS", 9)
    monkeypatch.setattr(type(tokenizer), "encode", spy(type(tokenizer).encode, parts))
    tokens = encode([Framed(Document.of(text), END[:0], END[:0])], tokenizer)
    assert "".join(parts) == text and len(parts) > 8 and tokens.start_D.tolist() == [0]
    np.testing.assert_array_equal(tokens.tokens_N, tokenizer.encode(text))


def spy(encode, parts):
    def spied(self, text):
        parts.append(text)
        return encode(self, text)

    return spied


@needs_mirror("tinyshakespeare/")
def test_parts_of_tiny_shakespeare(folder, monkeypatch):
    path = pathlib.Path(os.environ["XLSTM_JAX_DATA_MIRROR"]) / "tinyshakespeare" / "input.txt"
    text = path.read_text(encoding="utf-8")
    tokenizer = BPETokenizer.from_text(text[:200_000], vocab_size=600)
    monkeypatch.setattr(token_cache, "PIECE_CHARACTERS", 5000)
    tokens = encode([Framed(Document.of(text), END[:0], END[:0])], tokenizer)
    np.testing.assert_array_equal(tokens.tokens_N, tokenizer.encode(text))
