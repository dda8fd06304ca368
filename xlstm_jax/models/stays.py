"""Classifiers of irregular series: values, a mask and gaps at each step (`data.series.stays.codec`)."""

import dataclasses
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.checks import checked
from xlstm_jax.config import Rate
from xlstm_jax.errors import UsageError
from xlstm_jax.models.classifier import Classifier, ClassifierConfig
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Features
from xlstm_jax.shapes import zero_padding

PARTS = 3  # of an input: values, mask, gaps
STATISTICS = 5  # of each variable so far: last, mean, least, most, count
WIDTH = {"all": PARTS, "values": 1, "history": PARTS + STATISTICS}  # numbers of each variable that a step is given


@dataclasses.dataclass(frozen=True)
class StayClassifierConfig(ClassifierConfig, name="model"):
    """A classifier of irregular series."""

    # What the model is given: "all" (values, masks and gaps), "history" (these, and of each variable the last, mean,
    # least and most value and the count so far), "values" (the mean where none was measured), "statistics" (logistic
    # regression on the statistics of the whole stay) or "nothing" (a baseline that learns the class frequency).
    reads: Literal["all", "history", "values", "statistics", "nothing"] = "all"
    mapped: bool = True  # False: the first block reads values, masks and gaps themselves, as the cell grud must
    input_dropout: Rate = 0.0  # dropout rate of the inputs, before the map
    replication: Rate = 0.0  # weight in the training loss of the mean loss over all steps; the rest is for the last one


class Direct(nnx.Module):
    """An input layer that changes nothing."""

    def __call__(self, u_BTF: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
        """Returns [B, T, F] with zeros after each sequence's end."""
        return zero_padding(u_BTF, lengths)


class StayClassifier(Classifier):
    """logit = w . pool(stack(W [x, m, d] + b)), or w . pool(stack([x, m, d])) if the input is not mapped.

    Args:
        config: config of the stack and of the parts around it.
        variables: F, number of variables; a step's input has 3 F numbers.

    Raises:
        UsageError: the input is not mapped and `config.features` is not 3 F, or the loss at all steps is wanted of a
            model that pools them or reads backward.
    """

    config: StayClassifierConfig

    def __init__(self, config: StayClassifierConfig, variables: int, *, rngs: nnx.Rngs):
        wide = variables * WIDTH[config.reads]
        if not config.mapped and config.features != wide:
            raise UsageError(
                f"model.features {config.features} is not allowed with model.mapped=False; must be {wide}, the numbers "
                f"that a step has for {variables} variables"
            )
        if config.replication and (config.pooling != "last" or config.directions != "forward"):
            raise UsageError(
                f"model.replication {config.replication} needs model.pooling='last' and model.directions='forward', "
                "so that each step has seen the steps before it"
            )

        def make_input(rngs: nnx.Rngs) -> Features | Direct:
            return Features(wide, config.features, dtype=config.dtype, rngs=rngs) if config.mapped else Direct()

        super().__init__(config, make_input, 1, rngs=rngs)
        self.thinned = nnx.Dropout(config.input_dropout)

    def classify(
        self, inputs_BTD: jax.Array, lengths_B: jax.Array | None = None, key: jax.Array | None = None
    ) -> jax.Array:
        """The logit [B, 1] of right-padded sequences, at least float32. Dropout is active if a `key` is given."""
        input_key, key, head_key = (None,) * 3 if key is None else jax.random.split(key, 3)
        return self._classified(self._read(inputs_BTD, input_key), lengths_B, key, head_key)

    def at_each_step(self, inputs_BTD: jax.Array, lengths_B: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """The logit [B, T] of each beginning of the sequences."""
        input_key, key, head_key = (None,) * 3 if key is None else jax.random.split(key, 3)
        x_BTD, _ = self.hidden(self._read(inputs_BTD, input_key), lengths=lengths_B, key=key)
        return self.outputs(self.dropped(x_BTD, deterministic=head_key is None, rngs=head_key))[..., 0]

    def _read(self, inputs_BTD: jax.Array, key: jax.Array | None) -> jax.Array:
        if self.config.reads == "values":
            x_BTF, m_BTF, _ = jnp.split(inputs_BTD, PARTS, axis=-1)
            inputs_BTD = x_BTF * m_BTF
        if self.config.reads == "history":
            inputs_BTD = jnp.concatenate([inputs_BTD, statistics(inputs_BTD)], axis=-1)
        return self.thinned(inputs_BTD, deterministic=key is None, rngs=key)


class StatisticsClassifier(nnx.Module):
    """Logistic regression on statistics of each variable: last, mean, least, most and the logarithm of 1 + count.

    A statistic of a variable that was never measured is 0, the mean of all stays.
    """

    def __init__(self, config: StayClassifierConfig, variables: int, *, rngs: nnx.Rngs):
        self.variables = variables
        self.head = Head(STATISTICS * variables, 1, dtype=config.dtype, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros((1,), jnp.float32))
        self.dropped = nnx.Dropout(config.head_dropout)

    def classify(self, inputs_BTD: jax.Array, lengths_B: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """The logit [B, 1]."""
        sizes = {"D": PARTS * self.variables}
        inputs_BTD, lengths_B = checked("StatisticsClassifier", sizes, inputs_BTD=inputs_BTD, lengths_B=lengths_B)
        last_B11 = jnp.maximum(lengths_B - 1, 0)[:, None, None]
        statistics_BS = jnp.take_along_axis(statistics(inputs_BTD), last_B11, axis=1)[:, 0]
        logit_B1 = self.head(self.dropped(statistics_BS, deterministic=key is None, rngs=key))
        return logit_B1 + jnp.broadcast_to(self.bias[...].astype(logit_B1.dtype), logit_B1.shape)


def statistics(inputs_BTD: jax.Array) -> jax.Array:
    """[B, T, 5 F] from inputs [B, T, 3 F]: last, mean, least, most and log(1 + count) of each variable so far."""
    x_BTF, m_BTF, _ = jnp.split(inputs_BTD, PARTS, axis=-1)
    there_BTF, count_BTF = m_BTF > 0, jnp.cumsum(m_BTF, axis=1)
    mean_BTF = jnp.cumsum(x_BTF * m_BTF, axis=1) / jnp.maximum(count_BTF, 1)
    least_BTF = jax.lax.cummin(jnp.where(there_BTF, x_BTF, jnp.inf), axis=1)
    most_BTF = jax.lax.cummax(jnp.where(there_BTF, x_BTF, -jnp.inf), axis=1)
    least_BTF, most_BTF = (jnp.where(count_BTF > 0, part_BTF, 0) for part_BTF in (least_BTF, most_BTF))
    return jnp.concatenate([x_BTF, mean_BTF, least_BTF, most_BTF, jnp.log1p(count_BTF)], axis=-1)
