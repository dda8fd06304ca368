"""Summarize a text by its own sentences: SciTLDR, or the user's documents."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import PositiveInt, Rate, Section
from xlstm_jax.data.codecs import Vocabulary, power_of_two, softmax
from xlstm_jax.data.lines import json_strings
from xlstm_jax.data.parts import with_validation
from xlstm_jax.data.summaries.batches import Documents, batch_of, row_of
from xlstm_jax.data.summaries.codec import SummaryCodec
from xlstm_jax.data.summaries.documents import Document, kept, read, split_sentences
from xlstm_jax.data.summaries.published import READERS
from xlstm_jax.errors import UsageError
from xlstm_jax.models.summarizer import Lead, Summarizer, SummarizerConfig
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio
from xlstm_jax.tasks.examples import Examples, ExamplesTask, unlabelled
from xlstm_jax.tasks.rouge import oracle, scores


@dataclasses.dataclass(frozen=True)
class SummaryConfig(Section, name="data"):
    name: Literal["scitldr", "simulated"] = "scitldr"  # SciTLDR-A, or random words for tests
    # The user's documents instead: JSON lines with "source" and "target", or a folder with train.jsonl and perhaps
    # validation.jsonl and test.jsonl.
    path: str = ""
    sentences: PositiveInt = 1  # of a summary
    most_sentences: PositiveInt = 64  # of a text that are read, from its start
    most_words: PositiveInt = 48  # of a sentence that are read, from its start
    validation: Rate = 0.1  # share of the training documents for validation, where the data have no part for it
    least_count: PositiveInt = 1  # words that occur less often in the training data are unknown
    batch_size: PositiveInt = 16  # documents in a batch, with similar numbers of sentences
    multiple_of: PositiveInt = 8  # rows are padded to a multiple of it in sentences, so that few programs are compiled


class Question(NamedTuple):
    """An input: its sentences, and its row of `data.summaries.batches.row_of`."""

    sentences: list[str]
    row_SF: np.ndarray


@TASKS.register("summary")
class Summary(ExamplesTask):
    """Which sentences of a text are its summary; cross-entropy. The checkpoint with the best ROUGE-1 is kept.

    The sentences to learn are those with the best ROUGE-1 against the summaries that people wrote (`tasks.rouge`). With
    scores z_s of a text's sentences, and p_s = 1/n for the n that are to be taken, the loss is

        -sum_s p_s log softmax(z)_s

    Metrics: `rouge1`, `rouge2`, `rougeL`, from 0 to 100, of the sentences with the highest scores; `oracle_rouge1` and
    so on of the best sentences, which no model can exceed by much; `lead_rouge1` and so on of the first sentences;
    `accuracy`, the share of the sentences taken that are among the best.
    """

    Config, Model = SummaryConfig, SummarizerConfig
    best = ("rouge1", "higher")
    unit = "nats per document"
    detail = ("scores",)

    def __init__(self, config: SummaryConfig, codec: SummaryCodec | None = None):
        self.config, self.codec = config, codec
        self._known: dict[int, dict[str, float]] = {}
        if codec is None:
            self.codec = SummaryCodec.of(self._parts["train"], least=config.least_count)
            self.train_batches(seed=0)  # too few documents show before anything is built

    @functools.cached_property
    def _parts(self) -> dict[str, list[Document]]:
        parts = read(self.config.path) if self.config.path else READERS[self.config.name]()
        most = self.config.most_sentences
        short = {name: [d._replace(sentences=d.sentences[:most]) for d in part] for name, part in parts.items()}
        return with_validation(short, self.config.validation)

    @functools.cached_property
    def _documents(self) -> list[Document]:
        """Those of all parts, by number."""
        return [document for part in self._parts.values() for document in part]

    @functools.cached_property
    def _rows(self) -> dict[str, Examples]:
        """Rows of `data.summaries.batches.row_of`, of each part."""
        rows, number = {}, 0
        for name, part in self._parts.items():
            rows[name] = unlabelled([self._row(document, number + place) for place, document in enumerate(part)])
            number += len(part)
        return rows

    def _row(self, document: Document, number: int) -> np.ndarray:
        taken = oracle(document.sentences, document.summaries, self.config.sentences)
        tokens = self.codec.encode(document.sentences)
        return row_of(tokens, self.config.most_words, taken=taken, number=number)

    _make = staticmethod(batch_of)

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> SummaryCodec:
        return SummaryCodec.from_json(data)

    @property
    def loss_at_chance(self) -> float:
        return float(np.mean([np.log(len(row)) for row in self._rows["validation"][0]]))

    def summary(self) -> str:
        sizes = ", ".join(f"{name} {len(part):,}" for name, part in self._parts.items())
        sentences = np.mean([len(document.sentences) for document in self._documents])
        return f"documents: {sizes}; {sentences:.1f} sentences each; {len(self.codec.words):,} words"

    def build(self, config: SummarizerConfig, *, rngs: nnx.Rngs) -> Summarizer | Lead:
        if config.kind == "lead":
            return Lead()
        return Summarizer(config, len(self.codec.words), unknown=Vocabulary.UNKNOWN, rngs=rngs)

    def forward(self, model: Summarizer | Lead, batch: Documents, carry: Any, key: jax.Array | None) -> Outcome:
        score_BS = model.scores(batch.words_BSW, batch.words_in_BS, batch.lengths_B, key)
        # A row without sentences has one, so that its softmax is a number.
        there_BS = jnp.arange(score_BS.shape[1])[None] < jnp.maximum(batch.lengths_B, 1)[:, None]
        log_p_BS = jax.nn.log_softmax(jnp.where(there_BS, score_BS, -jnp.inf), axis=1)
        taken_B = jnp.maximum(jnp.sum(batch.taken_BS, axis=1), 1)
        nats_B = -jnp.sum(jnp.where(batch.taken_BS > 0, log_p_BS, 0), axis=1) / taken_B
        return Outcome(Ratio(jnp.sum(nats_B), jnp.sum(batch.lengths_B > 0, dtype=jnp.float32)), {}, carry)

    def judge(self, predicted: np.ndarray, batch: Documents) -> dict[str, Ratio]:
        totals: dict[str, list[float]] = {"documents": [0.0, 0.0]}
        for score_S, taken_S, number, length in zip(
            predicted, batch.taken_BS, batch.number_B, batch.lengths_B, strict=True
        ):
            if not length:
                continue
            document, best = self._documents[number], np.flatnonzero(taken_S)
            chosen = self._chosen(score_S[:length])
            found = _scores(document, chosen) | self._known_scores(number, best)
            found = {name: (value, 1) for name, value in found.items()}
            for name, (total, count) in (found | {"accuracy": (len({*chosen} & {*best}), len(chosen))}).items():
                sums = totals.setdefault(name, [0.0, 0.0])
                sums[0], sums[1] = sums[0] + total, sums[1] + count
        del totals["documents"]
        return {name: Ratio(*map(np.float64, pair)) for name, pair in totals.items()}

    def _known_scores(self, number: int, best: np.ndarray) -> dict[str, float]:
        """Those of the best and of the first sentences, computed once."""
        if number not in self._known:
            document, first = self._documents[number], range(self.config.sentences)
            ways = {"oracle": best, "lead": first}
            found = {way: _scores(document, places) for way, places in ways.items()}
            self._known[number] = {f"{way}_{kind}": value for way, one in found.items() for kind, value in one.items()}
        return self._known[number]

    def _chosen(self, score_S: np.ndarray) -> list[int]:
        """Places of the sentences with the highest scores, of equal ones the first, in order."""
        return sorted(np.argsort(-score_S, kind="stable")[: self.config.sentences].tolist())

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return {"documents": float(ratios["loss"].count)}

    def read(self, text: str) -> Question:
        """A text, or a JSON list of its sentences if they are to be kept as they are."""
        sentences, most = kept(json_strings(text)) or split_sentences(text), self.config.most_sentences
        if not sentences:
            raise UsageError("the input is empty; give a text, or a JSON list of its sentences")
        if len(sentences) > most:
            raise UsageError(f"the input has {len(sentences)} sentences, and the model reads {most}; give fewer")
        return Question(sentences, row_of(self.codec.encode(sentences), self.config.most_words))

    def blank(self, length: int) -> Question:
        return self.read("[" + ", ".join(['"a"'] * length) + "]")

    def collate(self, examples: list[Question]) -> Documents:
        rows = [example.row_SF for example in examples]
        return batch_of(rows, np.zeros(len(rows)), power_of_two(max(map(len, rows))))

    def predict(self, model: Summarizer | Lead, batch: Documents) -> jax.Array:
        return model.scores(batch.words_BSW, batch.words_in_BS, batch.lengths_B)

    def render(self, predicted: np.ndarray, example: Question) -> dict[str, Any]:
        """The sentences taken, and the number of each with its share of the softmax over all sentences."""
        score_S = np.asarray(predicted)[: len(example.sentences)]
        share_S, places = softmax(score_S), self._chosen(score_S)
        text = " ".join(example.sentences[place] for place in places)
        taken = {str(place + 1): float(share_S[place]) for place in places}
        return {"summary": text, "taken": taken, "scores": share_S.tolist()}


def _scores(document: Document, places: Any) -> dict[str, float]:
    """ROUGE of some sentences of a document, by their places."""
    text = " ".join(document.sentences[place] for place in places if place < len(document.sentences))
    return scores(text, document.summaries)
