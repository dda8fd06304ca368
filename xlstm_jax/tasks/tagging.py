"""Mark spans of words: the chunks of CoNLL-2000, the entities of WNUT 2017, or a folder of the user's own."""

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import PositiveInt, Rate, Section
from xlstm_jax.data.codecs import Vocabulary, power_of_two
from xlstm_jax.data.labelled import check_words, split_words
from xlstm_jax.data.lines import json_strings
from xlstm_jax.data.parts import with_validation
from xlstm_jax.data.tagging.batches import TaggedWords, batch_of
from xlstm_jax.data.tagging.codec import TaggingCodec
from xlstm_jax.data.tagging.columns import Tagged
from xlstm_jax.data.tagging.published import READERS, folder
from xlstm_jax.data.tagging.schemes import Scheme, allowed, spans
from xlstm_jax.data.words import LentReader
from xlstm_jax.models.bilm import Enriched
from xlstm_jax.models.tagger import Tagger, TaggerConfig, WordTagger
from xlstm_jax.models.words import Words
from xlstm_jax.tasks import reader
from xlstm_jax.tasks.base import TASKS, Loan, Outcome, Ratio
from xlstm_jax.tasks.examples import Examples, ExamplesTask, unlabelled


@dataclasses.dataclass(frozen=True)
class TaggingConfig(Section, name="data"):
    name: Literal["conll2000", "wnut17"] = "conll2000"  # a published data set
    path: str = ""  # instead: a folder with train.conll and perhaps validation.conll and test.conll
    scheme: Scheme = "iobes"  # of the tags that the model learns; files may have any
    validation: Rate = 0.1  # share of the training sentences for validation, where the data have no part for it
    least_count: PositiveInt = 1  # words that occur less often in the training data are unknown
    batch_size: PositiveInt = 32  # sentences in a batch, of similar length
    multiple_of: PositiveInt = 16  # rows are padded to a multiple of it, so that few programs are compiled
    bilm: str = ""  # workdir of a run of configs/elmo.py, whose states the model reads too; "": none


@TASKS.register("tagging")
class Tagging(ExamplesTask):
    """Spans of words by the tag of each word; the negative log-likelihood of a CRF. The best validation F1 is kept.

    Metrics, of spans: a predicted one is right if its type, first and last word are. `precision` tp / predicted,
    `recall` tp / true, `f1` 2 tp / (predicted + true), where spans are found as by seqeval and conlleval; of words:
    `accuracy` of tags.
    """

    Config, Model = TaggingConfig, TaggerConfig
    best = ("f1", "higher")
    unit = "nats per word"

    def __init__(self, config: TaggingConfig, codec: TaggingCodec | None = None, lender: tuple[Any, Any] | None = None):
        self.config, self.codec = config, codec
        if codec is None:
            options = {"least": config.least_count, "lent": lender and LentReader(*lender)}
            self.codec = TaggingCodec.of(self._sentences["train"], config.scheme, **options)
            self._rows  # noqa: B018  unknown types, or too few sentences, show before anything is built
            self.train_batches(seed=0)

    @functools.cached_property
    def _sentences(self) -> dict[str, list[Tagged]]:
        parts = folder(self.config.path) if self.config.path else READERS[self.config.name]()
        return with_validation(parts, self.config.validation)

    @functools.cached_property
    def _rows(self) -> dict[str, Examples]:
        """Rows of `data.tagging.batches.row_of`, of each part."""
        encode = self.codec.encode_tagged
        return {name: unlabelled([encode(one, name) for one in part]) for name, part in self._sentences.items()}

    _make = staticmethod(batch_of)

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> TaggingCodec:
        return TaggingCodec.from_json(data)

    @classmethod
    def borrowed(cls, config: TaggingConfig) -> Loan | None:
        return reader.loan(config.bilm)

    @property
    def loss_at_chance(self) -> float:
        return math.log(len(self.codec.tags))

    def summary(self) -> str:
        sizes = ", ".join(f"{name} {len(part):,}" for name, part in self._sentences.items())
        kinds = ", ".join(dict.fromkeys(tag[2:] for tag in self.codec.tags.names[1:]))
        return f"sentences: {sizes}; {len(self.codec.words):,} words; spans: {kinds}"

    def build(self, config: TaggerConfig, *, rngs: nnx.Rngs) -> nnx.Module:
        tags, may = len(self.codec.tags), allowed(self.codec.tags.names)
        lexicon, make = self.codec.lexicon, reader.maker(self.codec.lent)
        if config.kind == "words":
            reader.check_none(self.codec.lent, config.kind)
            return WordTagger(len(lexicon.words), tags, allowed=may, rngs=rngs)
        sizes = (*reader.sizes(lexicon), tags)
        return Tagger(config, *sizes, allowed=may, unknown=Vocabulary.UNKNOWN, reader=make, rngs=rngs)

    def forward(self, model: Tagger | WordTagger, batch: TaggedWords, carry: Any, key: jax.Array | None) -> Outcome:
        emissions_BTA = model.emissions(_words(batch), batch.lengths_B, key)
        nats_B = -model.crf.log_likelihood(emissions_BTA, batch.tags_BT, batch.lengths_B)
        return Outcome(Ratio(jnp.sum(nats_B), jnp.sum(batch.lengths_B).astype(jnp.float32)), {}, carry)

    def judge(self, predicted: np.ndarray, batch: TaggedWords) -> dict[str, Ratio]:
        right = found = there = same = 0
        for tags_T, wanted_T, length in zip(predicted, batch.tags_BT, batch.lengths_B, strict=True):
            got, wanted = (set(spans(self.codec.named(one[:length]))) for one in (tags_T, wanted_T))
            right, found, there = right + len(got & wanted), found + len(got), there + len(wanted)
            same += int((tags_T[:length] == wanted_T[:length]).sum())
        counts = {
            "f1": (2 * right, found + there),
            "precision": (right, found),
            "recall": (right, there),
            "accuracy": (same, int(batch.lengths_B.sum())),
        }
        return {name: Ratio(*map(np.float64, pair)) for name, pair in counts.items()}

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        # A model that finds no span has no precision; 0 as in seqeval, so that every metric is a number.
        return {
            name: 0.0 for name in ("f1", "precision", "recall") if name in ratios and not float(ratios[name].count)
        } | {"words": float(ratios["loss"].count)}

    def read(self, text: str) -> tuple[list[str], np.ndarray]:
        """A sentence, or a JSON list of its words if they are to be kept as they are."""
        words = check_words(json_strings(text) or split_words(text))
        return words, self.codec.encode(words)

    def blank(self, length: int) -> tuple[list[str], np.ndarray]:
        words = ["a"] * length
        return words, self.codec.encode(words)

    def collate(self, examples: list[tuple[list[str], np.ndarray]]) -> TaggedWords:
        rows = [row for _, row in examples]
        return batch_of(rows, np.zeros(len(rows), np.int32), power_of_two(max(map(len, rows))))

    def predict(self, model: Tagger | WordTagger, batch: TaggedWords) -> jax.Array:
        return model.crf.decode(model.emissions(_words(batch), batch.lengths_B), batch.lengths_B)

    def render(self, predicted: np.ndarray, example: tuple[list[str], np.ndarray]) -> dict[str, Any]:
        words, _ = example
        tags = self.codec.named(predicted[: len(words)])
        found = [{"type": kind, "text": " ".join(words[first : last + 1])} for kind, first, last in spans(tags)]
        return {"spans": found, "words": words, "tags": tags}


def _words(batch: TaggedWords) -> Words | Enriched:
    words = Words(batch.tokens_BT, batch.letters_BTL, batch.spelling_BTF)
    return words if batch.bilm_BTW is None else Enriched(words, batch.bilm_BTW)
