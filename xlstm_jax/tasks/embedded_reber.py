"""Predict the next symbol of an embedded Reber string."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from xlstm_jax.data.codecs import Symbols
from xlstm_jax.data.problems.embedded_reber import SHORTEST, SYMBOLS, EmbeddedReber
from xlstm_jax.data.problems.legal_symbols import LegalRows
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio
from xlstm_jax.tasks.legal_symbols import LegalSymbolsTask
from xlstm_jax.tasks.problem import ProblemConfig


@dataclasses.dataclass(frozen=True)
class EmbeddedReberConfig(ProblemConfig):
    target: Literal["symbol", "legal"] = "symbol"  # compared by the loss: the next symbol, or all that may follow


@TASKS.register("embedded_reber")
class EmbeddedReberTask(LegalSymbolsTask):
    """Strings of at most `sequence_length` steps, in the split "long" of more, up to `long_length`.

    `long_accuracy` is that of the last symbol but one, which repeats the second one.
    """

    Config = EmbeddedReberConfig
    outputs = len(SYMBOLS)

    def make_codec(self) -> Symbols:
        return Symbols(SYMBOLS)

    def problem(self, split: str, length: int) -> EmbeddedReber:
        shortest = max(self.config.sequence_length + 1 if split == "long" else 0, SHORTEST)
        if length < shortest:
            why = f"data.sequence_length + 1, and no less than {SHORTEST}" if split == "long" else "the shortest string"
            raise self.refused(split, length, f"must be at least {shortest} ({why})")
        return EmbeddedReber(shortest, length)

    def scored(self, logits_BQA: jax.Array, batch: LegalRows, carry: Any) -> Outcome:
        steps_B = jnp.sum(batch.mask_BT, axis=1, dtype=jnp.int32)
        last_but_one_BT = jnp.arange(batch.mask_BT.shape[1])[None] == steps_B[:, None] - 2
        right = jnp.sum(self.right(logits_BQA, batch) & last_but_one_BT, dtype=jnp.float32)
        outcome = super().scored(logits_BQA, batch, carry)
        outcome.ratios["long_accuracy"] = Ratio(right, outcome.ratios["solved"].count)
        return outcome

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        described = super().describe(result, split, carry=carry)
        return f"{described}, of the last symbol but one accuracy {result['long_accuracy']:.4f}"
