"""What all tasks with generated data share: rows without end, splits of a size that is set, answers scored."""

import dataclasses
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import grain
import jax
import jax.numpy as jnp
import optax

from xlstm_jax.config import NonNegativeInt, PositiveInt, Section
from xlstm_jax.data.batches import ALL_ROWS, ENDLESS, Batch, checked_seed, dataset
from xlstm_jax.data.generated import EVALUATION_SEED, FixedBatches, FixedRows, GeneratedBatches, Problem
from xlstm_jax.data.tokenizers import NoText
from xlstm_jax.errors import UsageError


@dataclasses.dataclass(frozen=True)
class GeneratedConfig(Section, name="data"):
    sequence_length: PositiveInt = 40  # steps of a training row
    long_length: NonNegativeInt = 256  # steps of a row of the split "long"; 0: there is no such split
    batch_size: PositiveInt = 64
    evaluation_batches: PositiveInt = 8  # of each split that is scored


class GeneratedTask:
    """A task whose rows come from a `Problem`; the answers' tokens are predicted, loss in nats for each of them.

    Splits are "validation", drawn as the training rows are, and "long", of longer ones; of a problem with `FixedRows`
    each is scored once. A subclass gives `problem`, `vocab_size` and `choices`, and `answers` where only few steps
    count; it may replace `cost` and `right`.

    Metrics: `loss`, `accuracy` of tokens, `scaled_accuracy` with chance at 0 and perfection at 1, `solved`, the share
    of rows all of whose answer is right, and `tokens`, how many were predicted.
    """

    Config = GeneratedConfig
    passes_carry = False
    loss_unit = "nats per token of an answer"

    def __init__(self, config: Any, tokenizer: Any = None):
        self.config, self.tokenizer = config, tokenizer or NoText()
        lengths = {"train": config.sequence_length, "validation": config.sequence_length, "long": config.long_length}
        self._problems = {name: self.problem(name, length) for name, length in lengths.items() if length}
        self.splits = {name: problem for name, problem in self._problems.items() if name != "train"}
        self.evaluated = tuple(self.splits)

    @property
    def vocab_size(self) -> int:
        """Tokens that there are, read or predicted."""
        raise NotImplementedError

    @property
    def choices(self) -> float:
        """Answers that one who knows nothing chooses among, for each token of an answer."""
        raise NotImplementedError

    @property
    def loss_at_chance(self) -> float:
        return math.log(self.vocab_size)

    def problem(self, split: str, length: int) -> Problem:
        """What a split's rows of `length` steps are drawn from; raises `UsageError` for options that cannot be."""
        raise NotImplementedError

    @staticmethod
    def refused(split: str, length: int, why: str) -> UsageError:
        """Says that a split's rows cannot have so many steps."""
        name = "long_length" if split == "long" else "sequence_length"
        return UsageError(f"data.{name} {length} is not allowed; {why}")

    def answers(self, length: int) -> int:
        """Targets that a row of `length` steps has at most: the head is applied at so many steps."""
        return length

    def fingerprint(self) -> str:
        return hashlib.sha256(repr((type(self).__name__, self.config)).encode()).hexdigest()

    def summary(self) -> str:
        lengths = ", ".join(f"{name} {problem.length}" for name, problem in self._problems.items())
        return f"rows are generated, steps of each: {lengths}"

    def model_fields(self) -> dict[str, Any]:
        return {"vocab_size": self.vocab_size}

    def train_dataset(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        return self._dataset("train", ENDLESS, checked_seed(seed), rows)

    def evaluation_dataset(self, split: str, *, carry: bool, rows: slice = ALL_ROWS) -> grain.IterDataset:
        del carry  # every row starts afresh
        if split not in self.splits:
            raise UsageError(f"split {split!r} is unknown; allowed: {', '.join(self.splits)}")
        problem = self.splits[split]
        if isinstance(problem, FixedRows):
            return dataset(FixedBatches(problem, batch_size=self.config.batch_size, rows=rows))
        seed = EVALUATION_SEED + tuple(self.splits).index(split)
        return self._dataset(split, self.config.evaluation_batches, seed, rows)

    def _dataset(self, split: str, length: int, seed: int, rows: slice) -> grain.IterDataset:
        size = self.config.batch_size
        return dataset(GeneratedBatches(self._problems[split], length, batch_size=size, seed=seed, rows=rows))

    def outputs(self, model: Any, batch: Batch, carry: Any, key: jax.Array | None = None) -> tuple[jax.Array, Any, Any]:
        """[B, Q, A] at the Q = `answers(T)` steps that may count, the batch at these alone, and the model's carry."""
        reset_BT = None if carry is None else batch.reset_BT
        x_BTD, carry = model.hidden(batch.tokens_BT, carry, reset=reset_BT, key=key)
        most = self.answers(batch.mask_BT.shape[1])
        if most < batch.mask_BT.shape[1]:  # a head with a large vocabulary costs more than all else
            at_BQ = jnp.argsort(~batch.mask_BT, axis=1, stable=True)[:, :most]  # steps that count come first

            def at_answers(a: jax.Array) -> jax.Array:
                return jnp.take_along_axis(a, at_BQ.reshape(*at_BQ.shape, *(1,) * (a.ndim - 2)), axis=1)

            batch, x_BTD = jax.tree.map(at_answers, (batch, x_BTD))
        return model.logits(x_BTD), batch, carry

    def cost(self, outputs_BTA: jax.Array, batch: Batch) -> jax.Array:
        """The loss of each step's answer, [B, T]."""
        return optax.softmax_cross_entropy_with_integer_labels(outputs_BTA, batch.targets_BT)

    def right(self, outputs_BTA: jax.Array, batch: Batch) -> jax.Array:
        """Whether each step's answer is right, bools [B, T]."""
        return jnp.argmax(outputs_BTA, axis=-1) == batch.targets_BT

    def loss(self, model: Any, batch: Batch, carry: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        outputs_BTA, batch, carry = self.outputs(model, batch, carry, key)
        cost = jnp.sum(jnp.where(batch.mask_BT, self.cost(outputs_BTA, batch), 0))
        return cost / jnp.maximum(self.weight(batch), 1).astype(cost.dtype), carry

    def weight(self, batch: Batch) -> jax.Array:
        return jnp.sum(batch.mask_BT, dtype=jnp.float32)

    def score(self, model: Any, batch: Batch, carry: Any) -> tuple[dict[str, jax.Array], Any]:
        outputs_BTA, batch, carry = self.outputs(model, batch, carry)
        return self.sums(outputs_BTA, batch), carry

    def sums(self, outputs_BTA: jax.Array, batch: Batch) -> dict[str, jax.Array]:
        """Of an evaluation batch: what `summarise` needs. A row without a target is none."""
        right_BT, row_B = self.right(outputs_BTA, batch), jnp.any(batch.mask_BT, axis=1)
        return {
            "cost": jnp.sum(jnp.where(batch.mask_BT, self.cost(outputs_BTA, batch), 0)),
            "right": jnp.sum(right_BT & batch.mask_BT, dtype=jnp.float32),
            "tokens": self.weight(batch),
            "solved": jnp.sum(row_B & jnp.all(right_BT | ~batch.mask_BT, axis=1), dtype=jnp.float32),
            "rows": jnp.sum(row_B, dtype=jnp.float32),
        }

    def summarise(self, sums: Mapping[str, float]) -> dict[str, float]:
        accuracy, chance = sums["right"] / sums["tokens"], 1 / self.choices
        return {
            "loss": sums["cost"] / sums["tokens"],
            "accuracy": accuracy,
            "scaled_accuracy": (accuracy - chance) / (1 - chance),
            "solved": sums["solved"] / sums["rows"],
            "tokens": sums["tokens"],
        }

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        del carry
        return (
            f"{split} loss {result['loss']:.4f} {self.loss_unit}, accuracy {result['accuracy']:.3f}, scaled "
            f"{result['scaled_accuracy']:.3f}, {result['solved']:.1%} of rows all right "
            f"({result['tokens']:,.0f} tokens, rows of {self.splits[split].length} steps)"
        )
