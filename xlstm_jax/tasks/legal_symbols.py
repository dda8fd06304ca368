"""What tasks share that predict the next symbol of a language's strings: right is to rank the legal symbols first."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import optax

from xlstm_jax.data.legal_symbols import LegalBatch
from xlstm_jax.tasks.generated import GeneratedTask


class LegalSymbolsTask(GeneratedTask):
    """A prediction is right where every symbol that may follow has a greater probability than every other one.

    With `config.target` "symbol" the loss is the cross-entropy of the symbol that came; with "legal" that of all that
    may follow, each with the same probability.

    Metrics: `loss`, `accuracy` of steps, `solved`, the share of strings all of whose steps are right, and `tokens`, the
    number of steps.
    """

    loss_unit = "nats per symbol"

    def cost(self, logits_BTA: jax.Array, batch: LegalBatch) -> jax.Array:
        if self.config.target == "symbol":
            return super().cost(logits_BTA, batch)
        legal_BTA = jnp.asarray(batch.legal_BTA, logits_BTA.dtype)
        share_BTA = legal_BTA / jnp.maximum(jnp.sum(legal_BTA, axis=-1, keepdims=True), 1)
        return optax.softmax_cross_entropy(logits_BTA, share_BTA)

    def right(self, logits_BTA: jax.Array, batch: LegalBatch) -> jax.Array:
        least_BT = jnp.min(jnp.where(batch.legal_BTA, logits_BTA, jnp.inf), axis=-1)
        return least_BT > jnp.max(jnp.where(batch.legal_BTA, -jnp.inf, logits_BTA), axis=-1)

    def summarise(self, sums: Mapping[str, float]) -> dict[str, float]:
        return {
            "loss": sums["cost"] / sums["tokens"],
            "accuracy": sums["right"] / sums["tokens"],
            "solved": sums["solved"] / sums["rows"],
            "tokens": sums["tokens"],
        }

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        del carry
        return (
            f"{split} loss {result['loss']:.4f} {self.loss_unit}, accuracy {result['accuracy']:.4f}, "
            f"{result['solved']:.1%} of strings all right ({result['tokens']:,.0f} symbols, rows of "
            f"{self.splits[split].length} steps)"
        )
