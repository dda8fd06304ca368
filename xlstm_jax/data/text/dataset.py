"""The texts of a config: their tokenizer, their splits, and batches of them."""

import functools
import hashlib
from collections.abc import Sequence
from typing import Any, Literal

import grain
import numpy as np

from xlstm_jax.data.batches import ALL_ROWS, dataset
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.data.text.corpus import Corpus, Joined
from xlstm_jax.data.text.layout import TokenBatches
from xlstm_jax.data.text.mixture import MixedTrainBatches, MixedValidationBatches, spawned, window_rows
from xlstm_jax.data.text.packing import Packing, packed_train_batches, packed_validation_batches
from xlstm_jax.data.text.sources import Source
from xlstm_jax.data.text.token_cache import Tokens
from xlstm_jax.data.text.tokenizers import TOKENIZERS, Tokenizer
from xlstm_jax.data.text.windows import train_batches, validation_batches

Sampling = Literal["windows", "stream", "packed"]


class TextData:
    """Training and validation splits of one or several sources, as tokens and as batches.

    A text is read when it is first needed.

    Args:
        sources: where the documents come from, each with its weight in the mixture.
        train_fraction: the part of each source's characters that is for training; the rest is for validation.
        sampling: "windows": each row is a random window; "stream": each row reads on where it stopped; "packed": rows
            hold several documents.
        sequence_length: T, tokens in a row.
        batch_size: B, rows of the global batch.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        *,
        train_fraction: float,
        sampling: Sampling,
        sequence_length: int,
        batch_size: int,
    ):
        self.sources, self._sampling, self._packed = sources, sampling, sampling == "packed"
        self._train_fraction = train_fraction
        self._shape = {"sequence_length": sequence_length, "batch_size": batch_size}
        self.tokenizer: Tokenizer | None = None

    def new_tokenizer(self, kind: str, vocab_size: int, path: str = "") -> Tokenizer:
        """The tokenizer of a file, or one made from the texts.

        Raises:
            UsageError: the kind is unknown, or a text or the file cannot be read.
        """
        if path:
            return BPETokenizer.from_file(path)
        made = TOKENIZERS.get(kind)
        texts = (text for corpus in self._corpora for text in corpus.texts(train_only=not made.closed))
        return made.from_text(*texts, vocab_size=vocab_size)

    @functools.cached_property
    def _corpora(self) -> list[Corpus]:
        return [Corpus(source, self._train_fraction, packed=self._packed) for source in self.sources]

    @functools.cached_property
    def splits_S(self) -> list[dict[str, Tokens]]:
        """The splits of each source."""
        return [corpus.splits(self.tokenizer) for corpus in self._corpora]

    @functools.cached_property
    def splits(self) -> dict[str, Any]:
        """Tokens by split, those of several sources one after another."""
        tokens = {name: [splits[name].tokens_N for splits in self.splits_S] for name in self.splits_S[0]}
        return {name: parts[0] if len(parts) == 1 else Joined(parts) for name, parts in tokens.items()}

    def fingerprint(self) -> str:
        """A digest of the texts."""
        return hashlib.sha256(" ".join(corpus.fingerprint for corpus in self._corpora).encode()).hexdigest()

    def train_batches(self, seed: int, rows: slice = ALL_ROWS) -> grain.IterDataset:
        """The given rows of endless batches; of several sources, each row is drawn from one by the weights."""
        shape = self._shape | {"seed": seed, "rows": rows}
        trains = [splits["train"] for splits in self.splits_S]
        if len(trains) > 1:
            rows_S = [self._rows(train, spawned(seed, number)) for number, train in enumerate(trains)]
            weight_S = np.array([source.weight for source in self.sources])
            tokens_S = [train.tokens_N for train in trains]
            return dataset(MixedTrainBatches(tokens_S, rows_S, weight_S, **shape))
        if self._packed:
            return dataset(packed_train_batches(*trains[0], **shape))
        return dataset(train_batches(trains[0].tokens_N, sampling=self._sampling, **shape))

    def _rows(self, train: Tokens, seed: int) -> Any:
        """One source's rows in a mixture."""
        length = self._shape["sequence_length"]
        if self._packed:
            packing = Packing(train.start_D, len(train.tokens_N), length, seed)
            return lambda index, rank_B: packing.shuffled(rank_B)
        return window_rows(len(train.tokens_N), length, seed)

    def batches(self, split: str, *, carry: bool, rows: slice = ALL_ROWS) -> grain.IterDataset:
        """The given rows of batches that cover a split once; with `carry`, in an order in which a state can pass."""
        batches_S = [self._evaluation_batches(splits[split], carry, rows) for splits in self.splits_S]
        return dataset(batches_S[0] if len(batches_S) == 1 else MixedValidationBatches(batches_S))

    def _evaluation_batches(self, split: Tokens, carry: bool, rows: slice) -> TokenBatches:
        if self._packed and not carry:
            return packed_validation_batches(*split, rows=rows, **self._shape)
        start_D = split.start_D if self._packed else None
        return validation_batches(split.tokens_N, carry=carry, start_D=start_D, rows=rows, **self._shape)
