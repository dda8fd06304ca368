"""Text in, text out. A streamed text equals the text decoded at once."""

import numpy as np
import pytest

from tests.models.examples import example, small
from xlstm_jax.data.text.tokenizers import ByteTokenizer, CharTokenizer
from xlstm_jax.errors import UsageError
from xlstm_jax.generate import TextStream, encode_prompts, generate, sample_text

pytestmark = pytest.mark.usefixtures("rolled")


def test_text():
    model = example(small("ms")).model()
    tokenizer = CharTokenizer("abcdefghijk")
    text = sample_text(model, tokenizer, "dbe", length=12, temperature=0.0, prefill_chunk=8)
    tokens = generate(model, np.array([[3, 1, 4]]), length=12, temperature=0.0, prefill_chunk=8)
    assert text == "dbe" + tokenizer.decode(np.asarray(tokens[0]))
    with pytest.raises(UsageError, match="the prompt is empty"):
        sample_text(model, tokenizer, "", length=5)
    with pytest.raises(UsageError, match="outside the vocabulary: 'x'"):
        sample_text(model, tokenizer, "abx", length=5)


def test_prompt_of_several_bytes_a_character():
    """Byte tokens are joined before decoding, so the model may complete a character of the prompt."""
    made = example(small("r", vocab_size=256))
    text = sample_text(made.model(), ByteTokenizer(), "é", length=3, temperature=0.0)
    assert text.startswith("é")


def test_a_text_ends_at_its_end_token():
    """The tokenizer's end token is the default."""
    model = example(small("r", vocab_size=256)).model()
    tokenizer = ByteTokenizer()
    prompt = tokenizer.encode("ab")[None].astype(np.int32)
    added = np.asarray(generate(model, prompt, length=3, temperature=0.0))[0]
    tokenizer.end_token = int(added[1])
    wanted = added[: 1 + int(added[0] != added[1])]
    options = {"length": 3, "temperature": 0.0}
    assert sample_text(model, tokenizer, "ab", **options) == "ab" + tokenizer.decode(wanted)
    assert sample_text(model, tokenizer, "ab", stop=(), **options) == "ab" + tokenizer.decode(added)


def test_prompts_of_different_lengths():
    tokens_BT, lengths_B = encode_prompts(CharTokenizer("abc"), ["c", "abca"])
    np.testing.assert_array_equal(tokens_BT, [[2, 0, 0, 0], [0, 1, 2, 0]])
    np.testing.assert_array_equal(lengths_B, [1, 4])


@pytest.mark.parametrize("pieces", [1, 2, 3, 7])
@pytest.mark.parametrize("text", ["plain", "é and 日本語 and 🙂🙂", ""])
def test_a_stream_never_splits_a_character(text, pieces):
    """The returned text is always a prefix of the final text."""
    tokenizer, shown = ByteTokenizer(), ""
    stream, tokens = TextStream(tokenizer), tokenizer.encode(text)
    for start in range(0, len(tokens), pieces):
        shown += stream.feed(tokens[start : start + pieces])
        assert text.startswith(shown)
        certain = tokens[: start + pieces].tobytes().decode("utf-8", "ignore")
        assert shown == certain
    assert shown == text and stream.finish() == ""


@pytest.mark.parametrize("pieces", [1, 3])
def test_a_stream_of_any_bytes_is_the_text_at_once(pieces):
    """Random bytes, most of them not characters, and incomplete characters at the end."""
    tokenizer = ByteTokenizer()
    random = np.random.default_rng(0)
    starts = np.frombuffer("🙂日é a".encode(), np.uint8)
    for _ in range(200):
        tokens = random.choice([*starts, 0x80, 0xFF, 0xE2, 0xF0], random.integers(1, 30))
        stream = TextStream(tokenizer)
        parts = [stream.feed(tokens[n : n + pieces]) for n in range(0, len(tokens), pieces)]
        assert "".join(parts) + stream.finish() == tokenizer.decode(tokens)
        assert stream.finish() == ""


class Joined:
    """Words joined by spaces. The first word decodes differently from the others, as in many subword tokenizers."""

    def decode(self, tokens):
        return " ".join(("the", "cat", "sat")[token] for token in tokens)


def test_a_stream_decodes_in_context():
    stream = TextStream(Joined())
    assert [stream.feed([token]) for token in (0, 1, 2)] == ["the", " cat", " sat"]
