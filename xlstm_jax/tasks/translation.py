"""Translate sentences: Multi30k, German and English, or a folder of the user's own."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from xlstm_jax.data.pairs import own
from xlstm_jax.data.pairs.batches import TokenPairs
from xlstm_jax.data.pairs.published import Pair, multi30k
from xlstm_jax.tasks import bleu
from xlstm_jax.tasks.base import TASKS, Ratio
from xlstm_jax.tasks.pairs import PairsConfig, PairsTask


@dataclasses.dataclass(frozen=True)
class TranslationConfig(PairsConfig, name="data"):
    direction: Literal["de-en", "en-de"] = "de-en"  # of Multi30k
    path: str = ""  # instead: a folder with train.tsv, train.jsonl or train.source and train.target, and other parts


@TASKS.register("translation")
class Translation(PairsTask):
    """Target sentences given source sentences; cross-entropy. The checkpoint with the best validation BLEU is kept.

    Metrics: `bleu` of beam search, by sacrebleu, whose signature is shown with it; `perplexity` per token and
    `token_accuracy` given the tokens before.
    """

    Config = TranslationConfig
    best = ("bleu", "higher")

    def _pairs(self) -> dict[str, list[Pair]]:
        return own.read(self.config.path) if self.config.path else multi30k(*self.config.direction.split("-"))

    def judge(self, predicted: Any, batch: TokenPairs) -> dict[str, Ratio]:
        there = np.flatnonzero(batch.lengths_B)
        tokens_BT = np.asarray(predicted["tokens"])
        texts, references = (
            [self.codec.decode_target(rows_BT[n]) for n in there] for rows_BT in (tokens_BT, batch.target_BT)
        )
        return {"ngrams": bleu.counts(texts, references)}

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return super().derive(ratios) | ({"bleu": bleu.score(ratios["ngrams"])} if "ngrams" in ratios else {})

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        return f"{super().describe(result, split, carry=carry)} ({bleu.signature()})"

    def draw(self, axes: Any, answer: dict[str, Any], example: np.ndarray) -> None:
        """The attention to each token of the source while a token of the target is written."""
        source, target = answer["source_tokens"], answer["target_tokens"]
        axes.imshow(np.array(answer["attention"]), cmap="Blues", vmin=0, vmax=1, aspect="auto")
        axes.set_xticks(range(len(source)), source, rotation=60, ha="right")
        axes.set_yticks(range(len(target)), target)
