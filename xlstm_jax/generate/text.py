"""Text generation: encodes prompts to tokens and decodes tokens to text as they come."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xlstm_jax.generate.decoding import PREFILL_CHUNK, decode, prefill
from xlstm_jax.models import LanguageModel

REPLACEMENT = "\ufffd"  # decoded from bytes that are not a character, or not yet a whole one


def encode_prompts(tokenizer: Any, prompts: Sequence[str], *, begin: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Returns tokens [B, T], int32, right-padded with 0, and the length of each row [B].

    Names of special tokens are encoded as these tokens. With `begin`, each prompt gets the tokenizer's prefix and
    suffix, like in Hugging Face's tokenizers. Without it, the prompts continue a text.

    Raises:
        UsageError: a prompt has characters outside the vocabulary.
    """
    prefix, suffix = (tokenizer.prefix, tokenizer.suffix) if begin else ((), ())
    rows = [[*prefix, *tokenizer.encode(prompt, special=True).tolist(), *suffix] for prompt in prompts]
    lengths_B = np.array([len(row) for row in rows], np.int32)
    tokens_BT = np.zeros((len(rows), max(lengths_B, default=0)), np.int32)
    for row, tokens in enumerate(rows):
        tokens_BT[row, : len(tokens)] = tokens
    return tokens_BT, lengths_B


def end_tokens(tokenizer: Any) -> tuple[int, ...]:
    """The tokens that end a text of a model trained with this tokenizer; () if it has no end token."""
    return () if tokenizer.end_token is None else (tokenizer.end_token,)


def sample_text(
    model: LanguageModel,
    tokenizer: Any,
    prompt: str,
    *,
    length: int,
    stop: Sequence[int] | None = None,
    seed: int = 0,
    prefill_chunk: int = PREFILL_CHUNK,
    **options: Any,
) -> str:
    """Returns the prompt and its continuation as text, up to the stop token.

    Args:
        length: maximum number of tokens to add.
        stop: tokens that end the text; None: the tokenizer's end token.
        seed, prefill_chunk, options: as in `generate`.

    Raises:
        UsageError: the prompt is empty or has characters outside the vocabulary, or an option is outside its range.
    """
    tokens_BT, _ = encode_prompts(tokenizer, [prompt])
    stop = end_tokens(tokenizer) if stop is None else stop
    state = prefill(model, tokens_BT, seed=seed, prefill_chunk=prefill_chunk)
    added_BT, lengths_B, _ = decode(model, state, length=length, stop=stop, **options)
    return tokenizer.decode(np.concatenate([tokens_BT[0], np.asarray(added_BT[0, : int(lengths_B[0])])]))


class TextStream:
    """Decodes a stream of tokens. The returned pieces, joined, are the text of all tokens decoded at once.

    The bytes of one character may be split over several tokens; an unfinished character is held back. Tokens are
    decoded together with those before them, because some tokenizers decode the first token of a text differently.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer
        self._before: list[int] = []  # tokens already returned, ending with a whole character
        self._pending: list[int] = []
        self._shown = 0  # number of characters already returned from the text of the pending tokens

    def feed(self, tokens: Sequence[int]) -> str:
        """Adds tokens; returns the text that is final now and was not before."""
        self._pending += [int(token) for token in tokens]
        text = self._text()
        # An unfinished character decodes to one REPLACEMENT at the very end; earlier ones are final.
        whole = not text.endswith(REPLACEMENT)
        new = text[self._shown : len(text) if whole else -1]
        self._shown += len(new)
        if whole and text:
            self._before, self._pending, self._shown = self._pending, [], 0
        return new

    def finish(self) -> str:
        """Returns the text held back so far."""
        new = self._text()[self._shown :]
        self._shown += len(new)
        return new

    def _text(self) -> str:
        def decode(tokens: list[int]) -> str:
            return self._tokenizer.decode(np.array(tokens, np.int64))

        return decode(self._before + self._pending)[len(decode(self._before)) :]
