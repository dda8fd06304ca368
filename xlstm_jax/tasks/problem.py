"""The base of tasks with generated data: endless training rows, evaluation splits, targets at some steps."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from xlstm_jax.config import NonNegativeInt, PositiveInt, Section
from xlstm_jax.data.codecs import Numbers, Symbols
from xlstm_jax.data.problems.base import Problem, Rows
from xlstm_jax.errors import UsageError
from xlstm_jax.models import ModelConfig, SequenceModel
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Features, Tokens
from xlstm_jax.tasks.answering import AnsweringTask
from xlstm_jax.tasks.base import Outcome, Ratio
from xlstm_jax.tasks.rows import RowsTask


@dataclasses.dataclass(frozen=True)
class ProblemConfig(Section, name="data"):
    sequence_length: PositiveInt = 40  # steps of a training row
    long_length: NonNegativeInt = 256  # steps of a row of the split "long"; 0: no such split
    batch_size: PositiveInt = 64
    evaluation_batches: PositiveInt = 8  # of each split that is scored


class ProblemTask(RowsTask, AnsweringTask):
    """A task whose rows come from a `Problem`: it predicts the targets at the steps that have one.

    Splits are "validation", drawn like the training rows, and "long", with longer rows. For a problem with `FixedRows`,
    each row is scored once. A subclass defines `problem`, `codec`, `outputs` and `choices`, and `answers` if only few
    steps have a target; it may replace `cost` and `right`.

    Metrics: `loss`; `accuracy`, the share of targets predicted; `scaled_accuracy`, with chance at 0 and perfection at
    1; `solved`, the share of rows with all targets predicted; `tokens`, the number of targets.
    """

    Config = ProblemConfig
    unit = "nats per token of an answer"

    def __init__(self, config: Any, codec: Any = None):
        self.config = config
        self.codec = codec or self.make_codec()
        if codec is None:
            self._problems  # noqa: B018  options that do not fit show before anything is built

    @functools.cached_property
    def _problems(self) -> dict[str, Problem]:
        config = self.config
        lengths = {"train": config.sequence_length, "validation": config.sequence_length, "long": config.long_length}
        return {name: self.problem(name, length) for name, length in lengths.items() if length}

    @functools.cached_property
    def evaluated(self) -> tuple[str, ...]:
        return tuple(self.splits)

    def make_codec(self) -> Symbols | Numbers:
        """Names of the tokens that the rows hold, or how many numbers each step reads."""
        return Symbols(map(str, range(self.outputs)))

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> Symbols | Numbers | None:
        if data == {"kind": "none"}:  # runs from before codecs: it follows from the config
            return None
        kinds = {kind.kind: kind for kind in (Symbols, Numbers)}
        if not isinstance(data, dict) or data.get("kind") not in kinds:
            raise UsageError(f"the codec is damaged; its kind must be {' or '.join(kinds)}")
        return kinds[data["kind"]].from_json(data)

    @property
    def outputs(self) -> int:
        """A: number of tokens, read or predicted; of a task of real numbers, how many are predicted."""
        raise NotImplementedError

    @property
    def choices(self) -> float:
        """Number of equally likely answers at a step, which sets the chance level."""
        raise NotImplementedError

    @property
    def loss_at_chance(self) -> float:
        return math.log(self.outputs)

    def problem(self, split: str, length: int) -> Problem:
        """The problem that draws a split's rows of `length` steps; raises `UsageError` if the options do not fit."""
        raise NotImplementedError

    @staticmethod
    def refused(split: str, length: int, why: str) -> UsageError:
        """The error for a split whose rows cannot have that many steps."""
        name = "long_length" if split == "long" else "sequence_length"
        return UsageError(f"data.{name} {length} is not allowed; {why}")

    def answers(self, length: int) -> int:
        """The most targets that a row of `length` steps can have: the head is applied at that many steps."""
        return length

    def fingerprint(self) -> str:
        # Version 0.1 called this class GeneratedConfig; the fingerprint keeps that name, so that its runs resume.
        config = repr(self.config).replace("ProblemConfig(", "GeneratedConfig(")
        return hashlib.sha256(f"({type(self).__name__!r}, {config})".encode()).hexdigest()

    def summary(self) -> str:
        lengths = ", ".join(f"{name} {problem.length}" for name, problem in self._problems.items())
        return f"rows are generated, steps of each: {lengths}"

    def build(self, config: ModelConfig, *, rngs: nnx.Rngs) -> SequenceModel:
        if config.tie_embedding and isinstance(self.codec, Numbers):
            raise UsageError("model.tie_embedding is for tasks that read tokens, and this one reads real numbers")
        sizes = {"std": config.embedding_std, "dtype": config.dtype}

        def make_input(rngs: nnx.Rngs) -> Tokens | Features:
            if isinstance(self.codec, Numbers):
                return Features(self.codec.width, config.features, rngs=rngs, **sizes)
            return Tokens(len(self.codec), config.features, rngs=rngs, **sizes)

        def make_head(rngs: nnx.Rngs) -> Head | None:
            if config.tie_embedding:
                return None
            return Head(config.features, self.outputs, cap=config.logit_softcap, dtype=config.dtype, rngs=rngs)

        return SequenceModel(config, make_input, make_head, rngs=rngs)

    def cost(self, outputs_BQA: jax.Array, batch: Rows) -> jax.Array:
        """The loss at each step, [B, Q]."""
        return optax.softmax_cross_entropy_with_integer_labels(outputs_BQA, batch.targets_BT)

    def right(self, outputs_BQA: jax.Array, batch: Rows) -> jax.Array:
        """Whether the target of each step is predicted, bools [B, Q]."""
        return jnp.argmax(outputs_BQA, axis=-1) == batch.targets_BT

    def forward(self, model: SequenceModel, batch: Rows, carry: Any, key: jax.Array | None) -> Outcome:
        x_BTD, carry = model.hidden(batch.inputs_BT, carry, lengths=batch.lengths_B, key=key)
        most = self.answers(batch.mask_BT.shape[1])
        if most < batch.mask_BT.shape[1]:  # a head with a large vocabulary costs more than everything else
            batch, x_BTD = _at_targets(batch, x_BTD, most)
        return self.scored(model.outputs(x_BTD), batch, carry)

    def scored(self, outputs_BQA: jax.Array, batch: Rows, carry: Any) -> Outcome:
        """Loss and metrics of outputs and batch at the same steps. A row without a target does not count."""
        cost_BQ, right_BQ = self.cost(outputs_BQA, batch), self.right(outputs_BQA, batch)
        tokens, row_B = jnp.sum(batch.mask_BT, dtype=jnp.float32), jnp.any(batch.mask_BT, axis=1)
        solved_B = row_B & jnp.all(right_BQ | ~batch.mask_BT, axis=1)
        ratios = {
            "accuracy": Ratio(jnp.sum(right_BQ & batch.mask_BT, dtype=jnp.float32), tokens),
            "solved": Ratio(jnp.sum(solved_B, dtype=jnp.float32), jnp.sum(row_B, dtype=jnp.float32)),
        }
        return Outcome(Ratio(jnp.sum(jnp.where(batch.mask_BT, cost_BQ, 0)), tokens), ratios, carry)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        accuracy, chance = ratios["accuracy"].value, 1 / self.choices
        return {
            "scaled_accuracy": float((accuracy - chance) / (1 - chance)),
            "tokens": float(ratios["loss"].count),
        }

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        del carry
        return (
            f"{split} loss {result['loss']:.4f} {self.unit}, accuracy {result['accuracy']:.3f}, scaled "
            f"{result['scaled_accuracy']:.3f}, {result['solved']:.1%} of rows all right "
            f"({result['tokens']:,.0f} tokens, rows of {self.splits[split].length} steps)"
        )


def _at_targets(batch: Rows, x_BTD: jax.Array, most: int) -> tuple[Rows, jax.Array]:
    """The batch and the features at the first `most` steps of each row that have a target, then others."""
    at_BQ = jnp.argsort(~batch.mask_BT, axis=1, stable=True)[:, :most]

    def at_targets(a: jax.Array) -> jax.Array:
        return jnp.take_along_axis(a, at_BQ.reshape(*at_BQ.shape, *(1,) * (a.ndim - 2)), axis=1)

    lengths_B, batch = batch.lengths_B, batch._replace(lengths_B=None)
    batch, x_BTD = jax.tree.map(at_targets, (batch, x_BTD))
    return batch._replace(lengths_B=lengths_B), x_BTD
