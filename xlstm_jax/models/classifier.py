"""Sequence classifiers: token embedding, a stack in one or both directions, pooling over steps, a head."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.config import NonNegativeFloat, Rate
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import Directions
from xlstm_jax.models.heads import Head, Pooling, pooled
from xlstm_jax.models.inputs import Tokens
from xlstm_jax.models.sequence_model import SequenceModel


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(StackConfig, name="model"):
    """A classifier of token sequences."""

    directions: Directions = "forward"  # forward, alternate (every second block backward) or both
    pooling: Pooling = "mean"  # last step, mean or max over the steps, or ends (last and first)
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the embedding; 0: sqrt(2 / (5 features))
    token_dropout: Rate = 0.0  # fraction of tokens that training replaces with `unknown`
    head_dropout: Rate = 0.0  # dropout rate of the pooled features
    reads: bool = True  # False: a baseline that ignores its input and learns the class frequencies


class Classifier(SequenceModel):
    """logits = W pool(stack(E[tokens])).

    Args:
        config: config of the stack and of the parts around it.
        vocab_size: number of tokens.
        classes: A, number of outputs.
        unknown: the token that replaces dropped tokens in training.
    """

    config: ClassifierConfig

    def __init__(self, config: ClassifierConfig, vocab_size: int, classes: int, *, unknown: int, rngs: nnx.Rngs):
        features, dtype = config.features, config.dtype
        wide = features * (2 if config.pooling == "ends" else 1)
        super().__init__(
            config,
            lambda rngs: Tokens(vocab_size, features, std=config.embedding_std, dtype=dtype, rngs=rngs),
            lambda rngs: Head(wide, classes, dtype=dtype, rngs=rngs),
            config.directions,
            rngs=rngs,
        )
        self.unknown, self.dropped = unknown, nnx.Dropout(config.head_dropout)

    def classify(self, tokens_BT: jax.Array, lengths_B: jax.Array, key: jax.Array | None = None) -> jax.Array:
        """Logits [B, A], at least float32, of right-padded sequences. Dropout is active if a `key` is given."""
        token_key, key, head_key = (None,) * 3 if key is None else jax.random.split(key, 3)
        if token_key is not None and self.config.token_dropout:
            drop_BT = jax.random.bernoulli(token_key, jnp.float32(self.config.token_dropout), tokens_BT.shape)
            tokens_BT = jnp.where(drop_BT, jnp.asarray(self.unknown, tokens_BT.dtype), tokens_BT)
        x_BTD, _ = self.hidden(tokens_BT, lengths=lengths_B, key=key)
        x_BD = pooled(x_BTD, lengths_B, self.config.pooling)
        return self.outputs(self.dropped(x_BD, deterministic=head_key is None, rngs=head_key))


class Prior(nnx.Module):
    """A baseline that learns only the class frequencies: the logits are a bias."""

    def __init__(self, classes: int):
        self.bias = nnx.Param(jnp.zeros((classes,), jnp.float32))

    def classify(self, tokens_BT: jax.Array, lengths_B: jax.Array, key: Any = None) -> jax.Array:
        """Logits [B, A]."""
        del lengths_B, key
        return jnp.broadcast_to(self.bias[...], (tokens_BT.shape[0], self.bias.shape[0]))
