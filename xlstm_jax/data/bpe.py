"""Byte-pair encoding (Sennrich et al. 2016) over bytes (Radford et al. 2019), by Hugging Face's `tokenizers`."""

import json
import os
import sys
from pathlib import Path
from typing import Any, Self

import numpy as np
from tokenizers import Tokenizer as Encoder
from tokenizers import decoders, models, pre_tokenizers, trainers

from xlstm_jax.data.tokenizers import TOKENIZERS, VOCAB_SIZE, checked
from xlstm_jax.errors import UsageError, one_line

END = "<|endoftext|>"
# What published tokenizers call the token after a document; the first one present is taken.
END_NAMES = (END, "<|end_of_text|>", "</s>", "<eos>", "[EOS]")
# Each of these characters stands for one byte in the vocabulary of a byte-level tokenizer.
ALPHABET = frozenset(pre_tokenizers.ByteLevel.alphabet())
LEAST_VOCAB_SIZE = len(ALPHABET) + 1  # with END


@TOKENIZERS.register("bpe")
class BPETokenizer:
    """Frequent byte sequences as tokens; every text can be encoded, and no token crosses a word's start.

    The text of a special token inside a document is read as ordinary text: only the pipeline places such tokens.
    """

    kind = "bpe"
    closed = False

    def __init__(self, encoder: Encoder):
        self._data = json.loads(encoder.to_str())
        special = {token for token, added in encoder.get_added_tokens_decoder().items() if added.special}
        names = {token: name for name, token in encoder.get_vocab(with_added_tokens=True).items()}
        _check(self._data, encoder)
        added = {token: added.content for token, added in encoder.get_added_tokens_decoder().items()}
        self.vocab_size = max(names) + 1
        self.bytes_per_token = np.zeros(self.vocab_size, np.int32)
        for token, name in names.items():
            if token not in special:
                # In an added token the text stands as it is; elsewhere each character is a byte.
                self.bytes_per_token[token] = len(added[token].encode()) if token in added else len(name)
        self.end_token = next((encoder.token_to_id(n) for n in END_NAMES if encoder.token_to_id(n) in special), None)
        self._encoder = encoder
        encoder.no_truncation()
        encoder.no_padding()
        encoder.encode_special_tokens = True

    @classmethod
    def from_text(cls, *texts: str, vocab_size: int = VOCAB_SIZE) -> Self:
        """Trained on `texts`; fewer tokens than `vocab_size` where no pair of neighbours is left to be joined."""
        if vocab_size < LEAST_VOCAB_SIZE:
            raise UsageError(
                f"data.vocab_size {vocab_size} is not allowed; it is at least {LEAST_VOCAB_SIZE}: bytes, and an end"
            )
        if not any(texts):
            raise UsageError("an empty text has no pairs of bytes to make a vocabulary of; give a text")
        encoder = Encoder(models.BPE())
        encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        encoder.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[END],
            initial_alphabet=sorted(ALPHABET),
            show_progress=sys.stderr.isatty(),
        )
        try:
            encoder.train_from_iterator(texts, trainer, length=len(texts))
        except (TypeError, UnicodeEncodeError) as error:
            raise UsageError("a text holds a lone surrogate, which UTF-8 cannot hold; give UTF-8 text") from error
        return cls(encoder)

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> Self:
        """A `tokenizer.json` of Hugging Face's, or that of a workdir; raises `UsageError` where it does not serve."""
        path = Path(os.path.expanduser(path))
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            saved = isinstance(data, dict) and data.get("kind") == cls.kind
            return cls.from_json(data if saved else {"tokenizer": data})
        except OSError as error:
            raise UsageError(f"cannot read tokenizer {str(path)!r}: {one_line(error)}; give another path") from error
        except (ValueError, RecursionError) as error:  # no UTF-8, no JSON, too deep, or a UsageError about its content
            raise UsageError(
                f"{str(path)!r} is no tokenizer.json of a byte-level BPE ({one_line(error, 300)}); give another one, "
                "or none to train one on the text"
            ) from error

    @classmethod
    def from_json(cls, data: dict) -> Self:
        if not isinstance(data.get("tokenizer"), dict):
            raise UsageError('a bpe tokenizer needs "tokenizer": what Hugging Face\'s tokenizer.json holds')
        try:
            encoder = Encoder.from_str(json.dumps(data["tokenizer"]))
        except Exception as error:  # the library raises no narrower class
            raise UsageError(f"Hugging Face's tokenizers cannot read it: {one_line(error)}") from error
        return cls(encoder)

    def to_json(self) -> dict:
        return {"kind": self.kind, "tokenizer": self._data}

    def encode(self, text: str) -> np.ndarray:
        """[T] tokens, none of them special."""
        try:
            tokens = self._encoder.encode_batch_fast([text], add_special_tokens=False)[0].ids
        except (TypeError, UnicodeEncodeError) as error:
            raise UsageError("the text holds a lone surrogate, which UTF-8 cannot hold; give UTF-8 text") from error
        return np.array(tokens, np.min_scalar_type(self.vocab_size - 1))

    def decode(self, tokens: np.ndarray) -> str:
        """The text of [T] tokens, special ones by their names; bytes that are not UTF-8 become U+FFFD."""
        return self._encoder.decode(checked(tokens, self.vocab_size).tolist(), skip_special_tokens=False)


def _check(data: dict[str, Any], encoder: Encoder) -> None:
    """Raises `UsageError` unless each token stands for a known number of bytes and every byte has a token."""
    before, after = (_steps(data, key) for key in ("pre_tokenizer", "decoder"))
    levels = [step for step in before if step.get("type") == "ByteLevel"]
    if data["model"]["type"] != "BPE" or not levels or "ByteLevel" not in [step.get("type") for step in after]:
        raise UsageError(
            f"its model is {data['model']['type']}, its pre_tokenizer {_types(before)}, its decoder {_types(after)}; "
            "wanted are BPE, ByteLevel and ByteLevel"
        )
    if any(step.get("add_prefix_space") for step in levels):
        raise UsageError("its add_prefix_space adds a space that the text does not have; wanted is false")
    vocabulary = encoder.get_vocab(with_added_tokens=False)
    if not vocabulary.keys() >= ALPHABET:
        raise UsageError(f"{len(ALPHABET - vocabulary.keys())} of the 256 bytes have no token; each needs one")
    added = {added.content for added in encoder.get_added_tokens_decoder().values()}
    for name in vocabulary:
        if not ALPHABET.issuperset(name) and name not in added:
            raise UsageError(f"its token {name!r} is not made of the byte-level alphabet")


def _steps(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The pre-tokenizer or decoder as a list of steps, whether it is one or a sequence."""
    part = data.get(key) or {}
    return part.get("pretokenizers") or part.get("decoders") or [part]


def _types(steps: list[dict[str, Any]]) -> str:
    return " + ".join(str(step.get("type")) for step in steps)
