"""Predict each word of a sentence from the words before it, and from those after it: a bidirectional language model."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import PositiveInt, Rate, Section
from xlstm_jax.data import brown
from xlstm_jax.data.codecs import Vocabulary, power_of_two
from xlstm_jax.data.labelled import check_words, split_words
from xlstm_jax.data.lines import json_strings
from xlstm_jax.data.parts import with_validation
from xlstm_jax.data.words import FEATURES, Lexicon, WordRows, batch_of
from xlstm_jax.errors import UsageError
from xlstm_jax.models.bilm import BiLM, BiLMConfig
from xlstm_jax.models.words import Words
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio
from xlstm_jax.tasks.examples import Examples, ExamplesTask, unlabelled
from xlstm_jax.tasks.language_model import perplexity
from xlstm_jax.tasks.reader import sizes

DIRECTIONS = ("forward", "backward")


@dataclasses.dataclass(frozen=True)
class BiLMDataConfig(Section, name="data"):
    source: Literal["brown"] = "brown"  # the Brown corpus
    path: str = ""  # instead: a text file with a sentence in each line, or a folder of .txt files
    validation: Rate = 0.05  # share of the sentences for validation
    longest: PositiveInt = 64  # longer sentences, in words, are left out
    least_count: PositiveInt = 5  # words that occur less often in the training data are unknown
    batch_size: PositiveInt = 32  # sentences in a batch, of similar length
    multiple_of: PositiveInt = 16  # rows are padded to a multiple of it, so that few programs are compiled


class Sentence(NamedTuple):
    """An input: its words, and their row of `Lexicon.encode`."""

    words: list[str]
    row_TW: np.ndarray


@TASKS.register("bilm")
class BiLanguageModeling(ExamplesTask):
    """Words of sentences from both sides; the mean of both directions' cross-entropy, in nats per word.

    Each direction predicts the words and the end that it reaches; a word that is not in the vocabulary is one of the
    class of unknown words. Peters et al. 2018 (arXiv 1802.05365), section 3.1.
    """

    Config, Model = BiLMDataConfig, BiLMConfig
    unit = "nats per word"

    def __init__(self, config: BiLMDataConfig, codec: Lexicon | None = None):
        self.config, self.codec = config, codec
        if codec is None:
            self.codec = Lexicon.of(self._sentences["train"], least=config.least_count)
            self.train_batches(seed=0)  # too few sentences show before anything is built

    @functools.cached_property
    def _sentences(self) -> dict[str, list[list[str]]]:
        config = self.config
        found = brown.own(config.path) if config.path else brown.brown()
        kept = [words for words in found if len(words) <= config.longest]
        if not kept:
            raise UsageError(f"no sentence has at most data.longest {config.longest} words; raise it")
        return with_validation({"train": kept}, config.validation)

    @functools.cached_property
    def _rows(self) -> dict[str, Examples]:
        """Rows of `Lexicon.encode`, of each part."""
        return {name: unlabelled(list(map(self.codec.encode, part))) for name, part in self._sentences.items()}

    _make = staticmethod(batch_of)

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> Lexicon:
        return Lexicon.from_json(data)

    @property
    def loss_at_chance(self) -> float:
        return math.log(len(self.codec.words))

    def summary(self) -> str:
        parts = self._sentences.items()
        counts = ", ".join(f"{name} {len(part):,} ({sum(map(len, part)):,} words)" for name, part in parts)
        return f"vocabulary {len(self.codec.words):,}; sentences: {counts}"

    def build(self, config: BiLMConfig, *, rngs: nnx.Rngs) -> BiLM:
        return BiLM(config, *sizes(self.codec), unknown=Vocabulary.UNKNOWN, rngs=rngs)

    def forward(self, model: BiLM, batch: WordRows, carry: Any, key: jax.Array | None) -> Outcome:
        nats = [jnp.sum(nats_BS) for nats_BS in self._nats(model, batch, key)]
        count = jnp.sum(jnp.where(batch.lengths_B > 0, batch.lengths_B + 1, 0)).astype(jnp.float32)
        ratios = {f"{name}_loss": Ratio(total, count) for name, total in zip(DIRECTIONS, nats, strict=True)}
        return Outcome(Ratio(sum(nats) / len(nats), count), ratios, carry)

    def _nats(self, model: BiLM, batch: WordRows, key: jax.Array | None = None) -> tuple[jax.Array, jax.Array]:
        return model.nats(Words.of(batch.words_BTW, FEATURES), batch.lengths_B, key)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        names = {"perplexity": "loss"} | {f"{name}_perplexity": f"{name}_loss" for name in DIRECTIONS}
        return {name: perplexity(float(ratios[loss].value)) for name, loss in names.items()}

    def read(self, text: str) -> Sentence:
        """A sentence, or a JSON list of its words if they are to be kept as they are."""
        words = check_words(json_strings(text) or split_words(text))
        return Sentence(words, self.codec.encode(words))

    def blank(self, length: int) -> Sentence:
        words = ["a"] * length
        return Sentence(words, self.codec.encode(words))

    def collate(self, examples: list[Sentence]) -> WordRows:
        rows = [one.row_TW for one in examples]
        return batch_of(rows, np.zeros(len(rows)), power_of_two(max(map(len, rows))))

    def predict(self, model: BiLM, batch: WordRows) -> jax.Array:
        """-log p [B, T + 1, 2] of each word and then the end, in each direction's order of reading."""
        return jnp.stack(self._nats(model, batch), axis=-1)

    def render(self, predicted: np.ndarray, example: Sentence) -> dict[str, Any]:
        length = len(example.words)
        forward_S, backward_S = np.asarray(predicted, np.float64)[: length + 1].T
        both = {"forward": forward_S[:-1], "backward": backward_S[:-1][::-1]}
        shares = {name: np.exp(-nats_T).tolist() for name, nats_T in both.items()}
        perplexities = {
            f"{name}_perplexity": perplexity(float(one.mean()))
            for name, one in zip(DIRECTIONS, (forward_S, backward_S), strict=True)
        }
        return {**perplexities, "words": example.words, **shares}
