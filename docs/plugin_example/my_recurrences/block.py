"""The leaky integrator as a residual block with options of its own: `model.leaky_block.dropout` and others."""

import dataclasses
from typing import Any

import jax.numpy as jnp
from flax import nnx

from xlstm_jax.config import Rate, Section
from xlstm_jax.models.blocks.base import BLOCKS, checked_inputs
from xlstm_jax.models.config import StackConfig
from xlstm_jax.nn import Recurrent, rms_norm


@dataclasses.dataclass(frozen=True)
class LeakyBlockConfig(Section, name="model.leaky_block"):
    dropout: Rate = 0.0  # of what the block adds


@BLOCKS.register("leaky_block", "k")
class LeakyBlock(nnx.Module):
    """x + leaky(rmsnorm(x))."""

    Config = LeakyBlockConfig

    def __init__(self, config: StackConfig, index: int, *, rngs: nnx.Rngs):
        del index
        dtype = jnp.dtype(config.dtype)
        self.norm = rms_norm(config.features, dtype=dtype, rngs=rngs)
        self.layer = Recurrent("leaky", config.features, config.features, dtype=dtype, rngs=rngs)
        self.dropout = nnx.Dropout(config.options(LeakyBlockConfig).dropout)

    @staticmethod
    def unsplittable(config: StackConfig) -> str:
        del config
        return "each of its steps needs the one before"

    def init_carry(self, batch: int) -> Any:
        return self.layer.init_carry(batch)

    def __call__(self, x_BTD, carry, *, reset=None, lengths=None, key=None):
        x_BTD, reset, lengths = checked_inputs(self, self.norm.num_features, x_BTD, carry, reset, lengths)
        y_BTD, carry = self.layer(self.norm(x_BTD), carry, reset=reset, lengths=lengths)
        return x_BTD + self.dropout(y_BTD, deterministic=key is None, rngs=key), carry
