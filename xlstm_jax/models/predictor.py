"""Models that predict the next step of a series: a stack of blocks, or linear autoregression."""

import dataclasses
from typing import Literal

from flax import nnx

from xlstm_jax.config import NonNegativeFloat, PositiveInt
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Features
from xlstm_jax.models.sequence_model import SequenceModel


@dataclasses.dataclass(frozen=True)
class PredictorConfig(StackConfig, name="model"):
    """A model that predicts a series."""

    kind: Literal["stack", "linear"] = "stack"  # linear: autoregression by least squares, without the stack
    lags: PositiveInt = 32  # steps that linear autoregression reads
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the input's map; 0: sqrt(2 / (5 features))


def stack_predictor(config: PredictorConfig, width: int, *, rngs: nnx.Rngs) -> SequenceModel:
    """A stack that reads `width` numbers at each step, and outputs as many."""
    return SequenceModel(
        config,
        lambda rngs: Features(width, config.features, std=config.embedding_std, dtype=config.dtype, rngs=rngs),
        lambda rngs: Head(config.features, width, dtype=config.dtype, rngs=rngs),
        rngs=rngs,
    )
