"""The base of tasks that turn one text into another."""

import dataclasses
import functools
from typing import Any

import jax
import numpy as np
from flax import nnx

from xlstm_jax.config import PositiveInt, Rate, Section
from xlstm_jax.data.codecs import power_of_two
from xlstm_jax.data.pairs.batches import TokenPairs, batch_of, row_of
from xlstm_jax.data.pairs.codec import PairsCodec, Unit
from xlstm_jax.data.pairs.published import Pair
from xlstm_jax.data.parts import with_validation
from xlstm_jax.errors import UsageError
from xlstm_jax.models.encoders import StackEncoder
from xlstm_jax.models.inputs import Tokens
from xlstm_jax.models.seq2seq import DecoderCarry, Seq2Seq, Seq2SeqConfig
from xlstm_jax.tasks.examples import Examples, unlabelled
from xlstm_jax.tasks.seq2seq import Seq2SeqTask

MOST_TOKENS = 1000  # of a source to predict


@dataclasses.dataclass(frozen=True)
class PairsConfig(Section, name="data"):
    unit: Unit = "bpe"  # of the tokens: byte pairs, or words between spaces
    vocab_size: PositiveInt = 6000  # of byte pairs, for each side
    least_count: PositiveInt = 2  # words that occur less often in the training data are unknown
    validation: Rate = 0.05  # share of the training pairs for validation, where the data have no part for it
    reverse: bool = False  # read sources from their end, as Sutskever et al. 2014 do
    most_tokens: PositiveInt = 100  # of a source or target for training; longer pairs are left out
    batch_size: PositiveInt = 64  # pairs in a batch, of similar length
    multiple_of: PositiveInt = 16  # rows are padded to a multiple of it, so that few programs are compiled


class PairsTask(Seq2SeqTask):
    """The tokens of a target given a source text.

    A subclass defines `_pairs`, and `judge` for metrics of the predicted texts.
    """

    Model = Seq2SeqConfig
    detail = ("source_tokens", "target_tokens", "attention")
    config: PairsConfig
    codec: PairsCodec

    def __init__(self, config: Any, codec: PairsCodec | None = None):
        self.config, self.codec = config, codec
        if codec is None:
            sizes = {"vocab_size": config.vocab_size, "least": config.least_count}
            self.codec = PairsCodec.of(self._parts["train"], config.unit, **sizes)
            self.train_batches(seed=0)  # too few pairs show before anything is built

    def _pairs(self) -> dict[str, list[Pair]]:
        """The parts of the data: "train" and perhaps "validation" and "test"."""
        raise NotImplementedError

    @functools.cached_property
    def _parts(self) -> dict[str, list[Pair]]:
        return with_validation(self._pairs(), self.config.validation)

    @functools.cached_property
    def _rows(self) -> dict[str, Examples]:
        """Rows of `data.pairs.batches.row_of`, of each part."""
        rows = {name: [self._row(pair) for pair in part] for name, part in self._parts.items()}
        kept = [row for row in rows["train"] if len(row) <= self.config.most_tokens]
        if not kept:
            raise UsageError(f"data.most_tokens {self.config.most_tokens} leaves no training pair; raise it")
        return {name: unlabelled(part) for name, part in (rows | {"train": kept}).items()}

    _make = staticmethod(batch_of)

    def _row(self, pair: Pair) -> np.ndarray:
        return row_of(self._source(pair.source), self.codec.encode_target(pair.target))

    def _source(self, text: str) -> np.ndarray:
        return self.codec.encode(text)[:: -1 if self.config.reverse else 1]

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> PairsCodec:
        return PairsCodec.from_json(data)

    def summary(self) -> str:
        sizes = ", ".join(f"{name} {len(rows):,}" for name, (rows, _) in self._rows.items())
        vocabularies = f"{self.codec.source.vocab_size:,} and {self.codec.target.vocab_size:,}"
        return f"pairs: {sizes}; {vocabularies} {'words' if self.codec.unit == 'words' else 'byte pairs'}"

    def build(self, config: Seq2SeqConfig, *, rngs: nnx.Rngs) -> Seq2Seq:
        def encoder(rngs: nnx.Rngs) -> StackEncoder:
            sizes = {"std": config.embedding_std, "dtype": config.dtype, "rngs": rngs}
            embedding = Tokens(self.codec.source.vocab_size, config.features, **sizes)
            return StackEncoder(config.encoder, embedding, config.directions, rngs=rngs)

        return Seq2Seq(config, encoder, self.codec.vocab_size, begin=self.codec.begin, rngs=rngs)

    def _encoded(self, model: Seq2Seq, batch: TokenPairs, key: jax.Array | None = None) -> DecoderCarry:
        return model.encode(batch.source_BS, batch.source_lengths_B, key)

    def _longest(self, batch: TokenPairs) -> int:
        return 2 * batch.source_BS.shape[1] + 8

    def read(self, text: str) -> np.ndarray:
        tokens_S = self._source(text.strip())
        if not len(tokens_S):
            raise UsageError("the input is empty; give a text")
        if len(tokens_S) > MOST_TOKENS:
            raise UsageError(f"the input has {len(tokens_S)} tokens; give at most {MOST_TOKENS}")
        return tokens_S

    def blank(self, length: int) -> np.ndarray:
        return np.ones(length, np.int32)

    def collate(self, examples: list[np.ndarray]) -> TokenPairs:
        rows = [row_of(tokens_S, tokens_S[:0]) for tokens_S in examples]
        return batch_of(rows, np.zeros(len(rows)), power_of_two(max(map(len, rows))))

    def render(self, predicted: Any, example: np.ndarray) -> dict[str, Any]:
        answer = {"target": self.codec.decode_target(predicted["tokens"])}
        tokens_T, attention_TS = self._attended(predicted)
        if not attention_TS.shape[1]:
            return answer
        names = {"source": self.codec.pieces(example, target=False), "target": self.codec.pieces(tokens_T, target=True)}
        rounded = np.round(attention_TS[:, : len(example)], 4).tolist()
        return answer | {f"{side}_tokens": pieces for side, pieces in names.items()} | {"attention": rounded}
