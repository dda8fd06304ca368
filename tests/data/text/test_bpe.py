"""Byte-pair encoding: exact byte counts for any text; files of other projects are read or refused with one line."""

import json
import os
import pathlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

from tests.mirror import needs_mirror
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.data.text.tokenizers import tokenizer_from_json
from xlstm_jax.errors import UsageError
from xlstm_jax.files import write_json

TRAINING = "the cat sat on the mat, and the other cat sat on it. naïve café 🙂🙂 don't\n\n  the end\n" * 3
BPE = BPETokenizer.from_text(TRAINING, vocab_size=290)
TEXT = "Grüße 👩‍👩‍👧 e\u0301 the cat <|endoftext|> \r\n\0 \ufffd 𝄞\n"


def byte_level(vocabulary=None, *, prefix=False, end="</s>") -> Tokenizer:
    """A tokenizer.json as in other projects, with other names and another order."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet(), reverse=True)
    encoder = Tokenizer(models.BPE({c: n for n, c in enumerate(alphabet)} if vocabulary is None else vocabulary, []))
    encoder.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.ByteLevel(add_prefix_space=prefix)])
    encoder.decoder = decoders.ByteLevel()
    encoder.add_special_tokens([end])
    return encoder


def test_sizes():
    assert BPE.vocab_size == 290 and BPE.end_token == 0
    assert len(BPE.encode(TRAINING)) < len(TRAINING.encode()) / 2
    assert BPETokenizer.from_text("ab" * 9).vocab_size < 4096  # no pairs left to merge


def test_training_is_deterministic():
    assert BPETokenizer.from_text(TRAINING, vocab_size=290).to_json() == BPE.to_json()


@given(st.text())
@settings(deadline=None)
def test_any_text_keeps_its_bytes(text):
    tokens = BPE.encode(text)
    assert BPE.bytes_per_token[tokens].sum() == len(text.encode())
    assert BPE.decode(tokens) == text and not (tokens == BPE.end_token).any()


def test_bytes_by_decoding_each_token():
    """A token's bytes, assembled by hand from the byte-level alphabet."""
    order = [*range(33, 127), *range(161, 173), *range(174, 256)]
    characters = {chr(byte): byte for byte in order}
    rest = [byte for byte in range(256) if byte not in order]
    characters |= {chr(256 + n): byte for n, byte in enumerate(rest)}
    for name, token in BPE.to_json()["tokenizer"]["model"]["vocab"].items():
        data = bytes(characters[c] for c in name) if token else b""
        assert BPE.bytes_per_token[token] == len(data)
        if token:
            assert BPE.decode([token]) == data.decode("utf-8", "replace")


def test_saved_tokenizer_needs_no_other_file(tmp_path):
    write_json(tmp_path / "codec.json", BPE.to_json())
    loaded = tokenizer_from_json(BPE.to_json())
    np.testing.assert_array_equal(loaded.encode(TEXT), BPE.encode(TEXT))
    np.testing.assert_array_equal(loaded.bytes_per_token, BPE.bytes_per_token)
    assert (loaded.end_token, loaded.vocab_size) == (BPE.end_token, BPE.vocab_size)
    assert BPETokenizer.from_file(tmp_path / "codec.json").to_json() == BPE.to_json()  # a workdir's file works too


def test_a_foreign_file(tmp_path):
    """Another order of the alphabet, added tokens with and without bytes, and a length limit without effect."""
    encoder = byte_level()
    encoder.add_tokens(["    "])
    encoder.enable_truncation(4)
    encoder.save(str(tmp_path / "tokenizer.json"))
    tokenizer = BPETokenizer.from_file(tmp_path / "tokenizer.json")
    assert tokenizer.vocab_size == 258 and tokenizer.end_token == 256
    tokens = tokenizer.encode(TEXT + "    </s>")
    assert tokenizer.bytes_per_token[tokens].sum() == len((TEXT + "    </s>").encode())
    assert tokenizer.decode(tokens) == TEXT + "    </s>" and 257 in tokens and 256 not in tokens
    assert tokenizer.bytes_per_token[256:].tolist() == [0, 4]
    assert BPETokenizer.from_json(tokenizer.to_json()).encode(TEXT).tolist() == tokenizer.encode(TEXT).tolist()


def test_a_file_without_an_end(tmp_path):
    encoder = byte_level(end="[PAD]")
    encoder.save(str(tmp_path / "tokenizer.json"))
    assert BPETokenizer.from_file(tmp_path / "tokenizer.json").end_token is None


def word_level() -> Tokenizer:
    return Tokenizer(models.WordLevel({"a": 0, "[UNK]": 1}, unk_token="[UNK]"))


def few_bytes() -> Tokenizer:
    return byte_level({"a": 0, "b": 1})


def foreign_token() -> Tokenizer:
    alphabet = {c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    return byte_level({**alphabet, "▁the": 256})


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (word_level, "its model is WordLevel, its pre_tokenizer None"),
        (few_bytes, "254 of the 256 bytes have no token"),
        (foreign_token, "its token '▁the' is not made of the byte-level alphabet"),
        (lambda: byte_level(prefix=True), "its add_prefix_space adds a space"),
        (lambda: "{", "Expecting property name"),
        (lambda: "{}", "Hugging Face's tokenizers cannot read it: "),
        (lambda: "[1]", 'a bpe tokenizer needs "tokenizer"'),
        (lambda: "", "Expecting value"),
    ],
)
def test_files_that_do_not_serve(tmp_path, make, words):
    made, path = make(), tmp_path / "tokenizer.json"
    path.write_text(made if isinstance(made, str) else made.to_str(), encoding="utf-8")
    with pytest.raises(UsageError) as caught:
        BPETokenizer.from_file(path)
    message = str(caught.value)
    assert words in message and str(path) in message and "\n" not in message


def test_missing_file(tmp_path):
    with pytest.raises(UsageError, match=r"cannot read tokenizer .*give another path"):
        BPETokenizer.from_file(tmp_path / "none.json")


def test_normalized_text_counts_as_normalized():
    """Byte counts are those of the encoded text."""
    encoder = byte_level()
    encoder.normalizer = normalizers.NFC()
    tokenizer = BPETokenizer(encoder)
    assert tokenizer.bytes_per_token[tokenizer.encode("e\u0301")].sum() == len("é".encode())


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: BPETokenizer.from_text("abc", vocab_size=256), r"data\.vocab_size 256 is not allowed; .* least 257"),
        (lambda: BPETokenizer.from_text(), "empty text"),
        (lambda: BPETokenizer.from_text("", ""), "empty text"),
        (lambda: BPETokenizer.from_text("a\ud800"), "lone surrogate"),
        (lambda: BPE.encode("a\udcff"), "lone surrogate"),
    ],
)
def test_what_cannot_work(call, message):
    with pytest.raises(UsageError, match=message):
        call()


@needs_mirror("tinyshakespeare/")
def test_tiny_shakespeare():
    path = pathlib.Path(os.environ["XLSTM_JAX_DATA_MIRROR"]) / "tinyshakespeare" / "input.txt"
    text = path.read_text(encoding="utf-8")
    tokenizer = BPETokenizer.from_text(text, vocab_size=1024)
    tokens = tokenizer.encode(text)
    assert tokenizer.bytes_per_token[tokens].sum() == 1_115_394
    assert 2.3 < 1_115_394 / len(tokens) < 2.6
    assert tokenizer.decode(tokens) == text
    assert json.loads(json.dumps(tokenizer.to_json())) == tokenizer.to_json()
