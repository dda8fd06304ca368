"""Predict the next symbol of an embedded Reber string."""

import dataclasses
from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp

from xlstm_jax.data.embedded_reber import SHORTEST, SYMBOLS, EmbeddedReber
from xlstm_jax.data.legal_symbols import LegalBatch
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.generated import GeneratedConfig
from xlstm_jax.tasks.legal_symbols import LegalSymbolsTask


@dataclasses.dataclass(frozen=True)
class EmbeddedReberConfig(GeneratedConfig):
    target: Literal["symbol", "legal"] = "symbol"  # the loss's: the symbol that came, or all that may follow


@TASKS.register("embedded_reber")
class EmbeddedReberTask(LegalSymbolsTask):
    """Strings of at most `sequence_length` steps, in the split "long" of more, up to `long_length`.

    `long_accuracy` is that of the last symbol but one, which repeats the second one.
    """

    Config = EmbeddedReberConfig
    vocab_size = len(SYMBOLS)

    def problem(self, split: str, length: int) -> EmbeddedReber:
        shortest = max(self.config.sequence_length + 1 if split == "long" else 0, SHORTEST)
        if length < shortest:
            why = f"data.sequence_length + 1, and {SHORTEST}" if split == "long" else "that of the shortest strings"
            raise self.refused(split, length, f"it is at least {shortest} ({why})")
        return EmbeddedReber(shortest, length)

    def sums(self, logits_BTA: jax.Array, batch: LegalBatch) -> dict[str, jax.Array]:
        steps_B = jnp.sum(batch.mask_BT, axis=1, dtype=jnp.int32)
        last_but_one_BT = jnp.arange(batch.mask_BT.shape[1])[None] == steps_B[:, None] - 2
        right = jnp.sum(self.right(logits_BTA, batch) & last_but_one_BT, dtype=jnp.float32)
        return super().sums(logits_BTA, batch) | {"long_right": right}

    def summarise(self, sums: Mapping[str, float]) -> dict[str, float]:
        return super().summarise(sums) | {"long_accuracy": sums["long_right"] / sums["rows"]}

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        described = super().describe(result, split, carry=carry)
        return f"{described}, of the last symbol but one accuracy {result['long_accuracy']:.4f}"
