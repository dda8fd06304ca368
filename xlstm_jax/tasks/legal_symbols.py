"""What tasks share that predict the next symbol of a language's strings: right is to rank the legal symbols first."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xlstm_jax.data.codecs import softmax
from xlstm_jax.data.problems.legal_symbols import LegalRows
from xlstm_jax.tasks.base import Ratio
from xlstm_jax.tasks.problem import ProblemTask


class LegalSymbolsTask(ProblemTask):
    """A prediction is right where every symbol that may follow has a greater probability than every other one.

    With `config.target` "symbol" the loss is the cross-entropy of the symbol that came; with "legal" that of all that
    may follow, each with the same probability.

    Metrics: `loss`, `accuracy` of steps, `solved`, the share of strings all of whose steps are right, and `tokens`, the
    number of steps.
    """

    unit = "nats per symbol"

    def cost(self, logits_BQA: jax.Array, batch: LegalRows) -> jax.Array:
        if self.config.target == "symbol":
            return super().cost(logits_BQA, batch)
        legal_BTA = jnp.asarray(batch.legal_BTA, logits_BQA.dtype)
        share_BTA = legal_BTA / jnp.maximum(jnp.sum(legal_BTA, axis=-1, keepdims=True), 1)
        return optax.softmax_cross_entropy(logits_BQA, share_BTA)

    def right(self, logits_BQA: jax.Array, batch: LegalRows) -> jax.Array:
        least_BT = jnp.min(jnp.where(batch.legal_BTA, logits_BQA, jnp.inf), axis=-1)
        return least_BT > jnp.max(jnp.where(batch.legal_BTA, -jnp.inf, logits_BQA), axis=-1)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return {"tokens": float(ratios["loss"].count)}

    def render(self, predicted: np.ndarray, example: np.ndarray) -> dict[str, Any]:
        del example
        share_A = softmax(predicted[0])
        ranked = np.argsort(-share_A, kind="stable")
        return {"next": {self.codec.names[token]: float(share_A[token]) for token in ranked}}

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        del carry
        return (
            f"{split} loss {result['loss']:.4f} {self.unit}, accuracy {result['accuracy']:.4f}, "
            f"{result['solved']:.1%} of strings all right ({result['tokens']:,.0f} symbols, rows of "
            f"{self.splits[split].length} steps)"
        )
