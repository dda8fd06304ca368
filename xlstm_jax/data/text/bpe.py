"""Byte-pair encoding (Sennrich et al. 2016) over bytes (Radford et al. 2019), with Hugging Face's `tokenizers`."""

import functools
import json
import os
import sys
from pathlib import Path
from typing import Any, Self

import numpy as np
from tokenizers import Tokenizer as Encoder
from tokenizers import decoders, models, pre_tokenizers, trainers

from xlstm_jax.data.text.documents import Document
from xlstm_jax.data.text.tokenizers import TOKENIZERS, VOCAB_SIZE, in_vocabulary
from xlstm_jax.errors import UsageError, one_line

END = "<|endoftext|>"
# Names of the end-of-document token in published tokenizers; the first one present is used.
END_NAMES = (END, "<|end_of_text|>", "</s>", "<eos>", "[EOS]")
# Pre-tokenizers that split the text and keep all of it. Those with a `behavior` other than "Removed" keep it too.
KEEPING = ("ByteLevel", "Digits", "UnicodeScripts", "FixedLength")
# Each character represents one byte in the vocabulary of a byte-level tokenizer.
ALPHABET = frozenset(pre_tokenizers.ByteLevel.alphabet())
LEAST_VOCAB_SIZE = len(ALPHABET) + 1  # bytes and END


@TOKENIZERS.register("bpe")
class BPETokenizer:
    """Frequent byte sequences as tokens. Every text can be encoded; no token crosses the start of a word.

    The name of a special token inside a document is encoded as ordinary text: only the data pipeline and prompts insert
    special tokens. `prefix` and `suffix` are the tokens that the file's post-processor adds to a text. Encoding is
    deterministic: the file's dropout (Provilkov et al. 2020), truncation and padding are switched off.
    """

    kind = "bpe"
    closed = False

    def __init__(self, encoder: Encoder):
        encoder.no_truncation()
        encoder.no_padding()
        if isinstance(encoder.model, models.BPE):
            encoder.model.dropout = None
        encoder.encode_special_tokens = True
        self._data = json.loads(encoder.to_str())
        self.special = {token for token, added in encoder.get_added_tokens_decoder().items() if added.special}
        names = {token: name for name, token in encoder.get_vocab(with_added_tokens=True).items()}
        _check(self._data, encoder)
        added = {token: added.content for token, added in encoder.get_added_tokens_decoder().items()}
        self.vocab_size = max(names) + 1
        self.bytes_per_token = np.zeros(self.vocab_size, np.int32)
        for token, name in names.items():
            if token not in self.special:
                # The name of an added token is its text; in other names each character is a byte.
                self.bytes_per_token[token] = len(added[token].encode()) if token in added else len(name)
        ends = (encoder.token_to_id(name) for name in END_NAMES)
        self.end_token = next((token for token in ends if token in self.special), None)
        self._encoder = encoder
        self.prefix, self.suffix = _around(encoder, self.vocab_size)
        # These may also be ordinary tokens of the vocabulary; `encode_kept` notices if one occurs in a text.
        self.bytes_per_token[[*self.prefix, *self.suffix]] = 0
        self.changes = _changes(self._data)

    @classmethod
    def from_text(cls, *texts: str | Document, vocab_size: int = VOCAB_SIZE) -> Self:
        """Trains on `texts`. Has fewer tokens than `vocab_size` if no pair is left to merge."""
        if vocab_size < LEAST_VOCAB_SIZE:
            raise UsageError(
                f"data.vocab_size {vocab_size} is not allowed; must be at least {LEAST_VOCAB_SIZE}: bytes and an end"
            )
        if not any(texts):
            raise UsageError("cannot make a vocabulary from an empty text; give a text")
        encoder = Encoder(models.BPE())
        encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        encoder.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size,
            special_tokens=[END],
            initial_alphabet=sorted(ALPHABET),
            show_progress=sys.stderr.isatty(),
        )
        pieces = (piece for text in texts for piece in Document.of(text).pieces())
        try:
            encoder.train_from_iterator(pieces, trainer, length=len(texts))
        except (TypeError, UnicodeEncodeError) as error:
            raise UsageError("a text has a lone surrogate, which UTF-8 cannot encode; give UTF-8 text") from error
        return cls(encoder)

    @classmethod
    def from_file(cls, path: str | os.PathLike) -> Self:
        """Reads Hugging Face's `tokenizer.json` or a workdir's; raises `UsageError` if it cannot be used."""
        path = Path(os.path.expanduser(path))
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            saved = isinstance(data, dict) and data.get("kind") == cls.kind
            return cls.from_json(data if saved else {"tokenizer": data})
        except OSError as error:
            raise UsageError(f"cannot read tokenizer {str(path)!r}: {one_line(error)}; give another path") from error
        except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, too deep, or a UsageError on its content
            raise UsageError(
                f"{str(path)!r} is not the tokenizer.json of a byte-level BPE ({one_line(error, 300)}); give another "
                "file, or no file to train a tokenizer on the text"
            ) from error

    @classmethod
    def from_json(cls, data: dict) -> Self:
        if not isinstance(data.get("tokenizer"), dict):
            raise UsageError('a bpe tokenizer needs "tokenizer": the content of Hugging Face\'s tokenizer.json')
        try:
            encoder = Encoder.from_str(json.dumps(data["tokenizer"]))
        except Exception as error:  # the library raises plain Exception
            raise UsageError(f"Hugging Face's tokenizers cannot read it: {one_line(error)}") from error
        return cls(encoder)

    def to_json(self) -> dict:
        return {"kind": self.kind, "tokenizer": self._data}

    @functools.cached_property
    def _naming(self) -> Encoder:
        """The same tokenizer, but encodes the names of special tokens as special tokens."""
        return Encoder.from_str(json.dumps(self._data))

    def encode(self, text: str, *, special: bool = False) -> np.ndarray:
        """[T] tokens; special tokens only with `special`, from their names in the text."""
        encoder = self._naming if special else self._encoder
        try:
            tokens = encoder.encode_batch_fast([text], add_special_tokens=False)[0].ids
        except (TypeError, UnicodeEncodeError) as error:
            raise UsageError("the text has a lone surrogate, which UTF-8 cannot encode; give UTF-8 text") from error
        return np.array(tokens, np.min_scalar_type(self.vocab_size - 1))

    def decode(self, tokens: np.ndarray) -> str:
        """The text of [T] tokens, with special tokens by name. Bytes that are not UTF-8 become U+FFFD."""
        return self._encoder.decode(in_vocabulary(tokens, self.vocab_size).tolist(), skip_special_tokens=False)


def _check(data: dict[str, Any], encoder: Encoder) -> None:
    """Raises `UsageError` unless each token has a known number of bytes and every byte has a token."""
    before, after = (_steps(data, key) for key in ("pre_tokenizer", "decoder"))
    levels = [step for step in before if step.get("type") == "ByteLevel"]
    if data["model"]["type"] != "BPE" or not levels or "ByteLevel" not in [step.get("type") for step in after]:
        raise UsageError(
            f"its model is {data['model']['type']}, its pre_tokenizer {_types(before)}, its decoder {_types(after)}; "
            "must be BPE, ByteLevel and ByteLevel"
        )
    if any(step.get("add_prefix_space") for step in levels):
        raise UsageError("its add_prefix_space adds a space that the text does not have; must be false")
    vocabulary = encoder.get_vocab(with_added_tokens=False)
    if not vocabulary.keys() >= ALPHABET:
        raise UsageError(f"{len(ALPHABET - vocabulary.keys())} of the 256 bytes have no token; each needs one")
    added = {added.content for added in encoder.get_added_tokens_decoder().values()}
    for name in vocabulary:
        if not ALPHABET.issuperset(name) and name not in added:
            raise UsageError(f"its token {name!r} is not made of the byte-level alphabet")


def _around(encoder: Encoder, vocab_size: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens that the post-processor adds before and after a text."""
    plain, whole = (encoder.encode("a", add_special_tokens=special) for special in (False, True))
    start = [*whole.special_tokens_mask, 0].index(0)
    end = start + len(plain.ids)
    prefix, suffix = tuple(whole.ids[:start]), tuple(whole.ids[end:])
    if whole.ids[start:end] != plain.ids or not all(whole.special_tokens_mask[end:]):
        raise UsageError("its post_processor changes the text or repeats it; must keep it once, unchanged")
    if max(prefix + suffix, default=0) >= vocab_size:
        raise UsageError(f"its post_processor adds token {max(prefix + suffix)}, but there are {vocab_size} tokens")
    return prefix, suffix


def _changes(data: dict[str, Any]) -> str:
    """The parts of the file that may change a text, for messages."""
    found = []
    if normalizer := data.get("normalizer"):
        found.append(f"its normalizer is {_types(normalizer.get('normalizers') or [normalizer])}")
    cuts = [step for step in _steps(data, "pre_tokenizer") if step.get("type") not in KEEPING]
    if cuts := [step for step in cuts if step.get("behavior", "Removed") == "Removed"]:
        found.append(f"its pre_tokenizer {_types(cuts)} removes the text that it splits at")
    for added in data.get("added_tokens", ()):
        if (added["lstrip"] or added["rstrip"]) and not added["special"]:
            found.append(f"its token {added['content']!r} strips adjacent spaces")
    for key in ("continuing_subword_prefix", "end_of_word_suffix"):
        if data["model"].get(key):
            found.append(f"its {key} is {data['model'][key]!r}")
    return ", ".join(found)


def _steps(data: dict[str, Any], key: str) -> list[dict[str, Any]]:
    """The pre-tokenizer or decoder as a list of steps, even if it is a single step."""
    part = data.get(key) or {}
    return part.get("pretokenizers") or part.get("decoders") or [part]


def _types(steps: list[dict[str, Any]]) -> str:
    return " + ".join(str(step.get("type")) for step in steps)
