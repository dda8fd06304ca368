"""Round trips, vocabularies, and errors for text and files that do not fit."""

import json

import numpy as np
import pytest

from xlstm_jax.data.text.tokenizers import TOKENIZERS, ByteTokenizer, CharTokenizer, tokenizer_from_json
from xlstm_jax.errors import UsageError

TEXT = "Grüße, Welt!\r\n\tна здоровье \U0001f600 e\u0301 \u20ac\0"


@pytest.mark.parametrize("kind", TOKENIZERS.names())
class TestEveryTokenizer:
    def test_round_trip(self, kind):
        tokenizer = TOKENIZERS.get(kind).from_text(TEXT)
        tokens_T = tokenizer.encode(TEXT)
        assert tokens_T.ndim == 1 and tokens_T.max() < tokenizer.vocab_size
        assert tokens_T.dtype == np.min_scalar_type(tokenizer.vocab_size - 1)
        assert tokenizer.decode(tokens_T) == TEXT
        assert tokenizer.decode(tokens_T.astype(np.int32)) == TEXT

    def test_empty_text(self, kind):
        tokenizer = TOKENIZERS.get(kind).from_text(TEXT)
        assert tokenizer.encode("").shape == (0,)
        assert tokenizer.decode([]) == ""

    def test_bytes_per_token_sum_to_the_bytes_of_the_text(self, kind):
        tokenizer = TOKENIZERS.get(kind).from_text(TEXT)
        assert tokenizer.bytes_per_token.shape == (tokenizer.vocab_size,)
        assert tokenizer.bytes_per_token[tokenizer.encode(TEXT)].sum() == len(TEXT.encode())

    def test_as_json_and_back(self, kind):
        tokenizer = TOKENIZERS.get(kind).from_text(TEXT)
        loaded = tokenizer_from_json(json.loads(json.dumps(tokenizer.to_json())))
        assert type(loaded) is type(tokenizer) and loaded.to_json() == tokenizer.to_json()
        assert loaded.to_json()["kind"] == kind
        assert np.array_equal(loaded.encode(TEXT), tokenizer.encode(TEXT))

    def test_several_texts(self, kind):
        """Several documents of a source; no single one has all characters."""
        tokenizer = TOKENIZERS.get(kind).from_text(*TEXT)
        assert tokenizer.decode(tokenizer.encode(TEXT)) == TEXT

    def test_the_end_token_has_no_bytes(self, kind):
        tokenizer = TOKENIZERS.get(kind).from_text(TEXT)
        assert (tokenizer.bytes_per_token == 0).nonzero()[0].tolist() == [
            token for token in (tokenizer.end_token,) if token is not None
        ]

    @pytest.mark.parametrize("least", [True, False])
    def test_decode_refuses_tokens_outside(self, kind, least):
        tokenizer = TOKENIZERS.get(kind).from_text(TEXT)
        token = -1 if least else tokenizer.vocab_size
        with pytest.raises(ValueError, match=str(token)):
            tokenizer.decode(np.array([0, token]))


def test_bytes_are_utf8():
    assert ByteTokenizer().encode("é!").tolist() == [0xC3, 0xA9, 0x21]
    assert ByteTokenizer().decode([0xC3, 0x21]) == "\ufffd!"


def test_bytes_take_a_prompt_that_is_not_utf8():
    assert ByteTokenizer().encode(b"\xff!".decode("utf-8", "surrogateescape")).tolist() == [0xFF, 0x21]
    with pytest.raises(UsageError, match="ud800"):
        ByteTokenizer().encode("\ud800")


def test_characters_stand_in_order_of_code_point():
    tokenizer = CharTokenizer.from_text("banana €")
    assert tokenizer.characters == " abn€"
    assert tokenizer.encode("nab €").tolist() == [3, 1, 2, 0, 4]


def test_large_vocabulary_uses_the_smallest_dtype():
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 257)))
    tokenizer = CharTokenizer.from_text(text)
    assert tokenizer.encode(text).dtype == np.uint16
    assert tokenizer.encode(text).tolist() == list(range(257))
    assert CharTokenizer.from_text(text[:256]).encode(text[:256]).dtype == np.uint8


def test_characters_outside_are_listed():
    tokenizer = CharTokenizer.from_text("abc d")
    with pytest.raises(UsageError) as caught:
        tokenizer.encode("aZ\n\U0001f600Zb\x00")
    message = str(caught.value)
    assert message.startswith("4 characters outside the vocabulary: '\\x00', '\\n', 'Z', '\U0001f600';")
    assert "5 characters of the training text: ' abcd'" in message and "\n" not in message


def test_at_most_ten_characters_outside_are_listed():
    with pytest.raises(UsageError, match=r"^15 characters outside the vocabulary: ('.', ){10}\.\.\.;"):
        CharTokenizer.from_text("x").encode("abcdefghijklmno")


def test_empty_text_has_no_vocabulary():
    with pytest.raises(UsageError, match="empty text"):
        CharTokenizer.from_text("")


@pytest.mark.parametrize(
    "content",
    [
        b"[]",
        b"{}",
        b'{"kind": ["byte"]}',
        b'{"kind": "char"}',
        b'{"kind": "char", "characters": ""}',
        b'{"kind": "char", "characters": "ba"}',
        b'{"kind": "char", "characters": "aab"}',
        b'{"kind": "word"}',
        b'{"kind": "bpe"}',
        b'{"kind": "bpe", "tokenizer": {}}',
        b'{"kind": "bpe", "tokenizer": {"model": {"type": "BPE"}}}',
    ],
)
def test_damaged_json(content):
    with pytest.raises(UsageError, match="tokenizer") as caught:
        tokenizer_from_json(json.loads(content))
    assert "\n" not in str(caught.value)


def test_json_form_survives_json():
    data = json.loads(json.dumps(CharTokenizer.from_text(TEXT).to_json()))
    assert tokenizer_from_json(data).decode(tokenizer_from_json(data).encode(TEXT)) == TEXT
