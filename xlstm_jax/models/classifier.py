"""Sequence classifiers: an input layer, a stack in one or both directions, pooling over steps, a head."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.config import NonNegativeFloat, Rate
from xlstm_jax.models.bilm import Enriched, EnrichedInput, MakeReader, with_states
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import Directions
from xlstm_jax.models.heads import Head, Pooling, pooled
from xlstm_jax.models.inputs import Both, Features, Input, Tokens, TokensAndFeatures, replaced
from xlstm_jax.models.sequence_model import SequenceModel


@dataclasses.dataclass(frozen=True)
class ClassifierConfig(StackConfig, name="model"):
    """A classifier of sequences."""

    directions: Directions = "forward"  # forward, alternate (every second block backward) or both
    pooling: Pooling = "mean"  # last step, mean or max over the steps, or ends (last and first)
    head_dropout: Rate = 0.0  # dropout rate of the pooled features


@dataclasses.dataclass(frozen=True)
class TextClassifierConfig(ClassifierConfig, name="model"):
    """A classifier of token sequences."""

    # naive_bayes: a baseline that counts tokens and pairs of them; majority: one that learns the class frequencies.
    kind: Literal["stack", "naive_bayes", "majority"] = "stack"
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the embedding; 0: sqrt(2 / (5 features))
    token_dropout: Rate = 0.0  # fraction of tokens that training replaces with `unknown`


class Classifier(SequenceModel):
    """logits = W pool(stack(input(x))).

    Args:
        config: config of the stack and of the parts around it.
        make_input: makes the input layer (`models.inputs`) from the random streams.
        classes: A, number of outputs.
    """

    config: ClassifierConfig

    def __init__(
        self, config: ClassifierConfig, make_input: Callable[[nnx.Rngs], Input], classes: int, *, rngs: nnx.Rngs
    ):
        wide = config.features * (2 if config.pooling == "ends" else 1)
        super().__init__(
            config,
            make_input,
            lambda rngs: Head(wide, classes, dtype=config.dtype, rngs=rngs),
            config.directions,
            rngs=rngs,
        )
        self.dropped = nnx.Dropout(config.head_dropout)

    def classify(self, inputs: Any, lengths_B: jax.Array | None = None, key: jax.Array | None = None) -> jax.Array:
        """Logits [B, A], at least float32, of right-padded sequences. Dropout is active if a `key` is given."""
        _, key, head_key = (None,) * 3 if key is None else jax.random.split(key, 3)
        return self._classified(inputs, lengths_B, key, head_key)

    def _classified(self, inputs: Any, lengths_B: jax.Array | None, key: Any, head_key: Any) -> jax.Array:
        x_BTD, _ = self.hidden(inputs, lengths=lengths_B, key=key)
        x_BD = pooled(x_BTD, lengths_B, self.config.pooling)
        return self.outputs(self.dropped(x_BD, deterministic=head_key is None, rngs=head_key))


class TextClassifier(Classifier):
    """A classifier whose input is a token embedding: logits = W pool(stack(E[tokens])).

    Args:
        config: config of the stack and of the parts around it.
        vocab_size: number of tokens.
        classes: A, number of outputs.
        unknown: the token that replaces dropped tokens in training.
        numbers: F, real numbers that each step has beside its token, whose linear map is added to E; 0: none.
        reader: makes a biLM whose states are read too, see `EnrichedInput`; None: none.
    """

    config: TextClassifierConfig

    def __init__(
        self,
        config: TextClassifierConfig,
        vocab_size: int,
        classes: int,
        *,
        unknown: int,
        numbers: int = 0,
        reader: MakeReader | None = None,
        rngs: nnx.Rngs,
    ):
        def embedding(rngs: nnx.Rngs) -> Tokens | Both | EnrichedInput:
            own = Tokens(vocab_size, config.features, std=config.embedding_std, dtype=config.dtype, rngs=rngs)
            if numbers:
                own = Both(own, Features(numbers, config.features, dtype=config.dtype, rngs=rngs))
            return with_states(own, reader, config, rngs=rngs)

        super().__init__(config, embedding, classes, rngs=rngs)
        self.unknown = unknown

    def classify(
        self,
        inputs: jax.Array | TokensAndFeatures | Enriched,
        lengths_B: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> jax.Array:
        """Logits [B, A], at least float32, of right-padded sequences of tokens [B, T], perhaps with more beside them.

        Dropout is active if a `key` is given.
        """
        token_key, key, head_key = (None,) * 3 if key is None else jax.random.split(key, 3)
        inputs = replaced(inputs, self.unknown, self.config.token_dropout, token_key)
        return self._classified(inputs, lengths_B, key, head_key)


class Prior(nnx.Module):
    """A baseline that learns only the class frequencies: the logits are a bias."""

    def __init__(self, classes: int):
        self.bias = nnx.Param(jnp.zeros((classes,), jnp.float32))

    def classify(self, tokens_BT: jax.Array, lengths_B: jax.Array, key: Any = None) -> jax.Array:
        """Logits [B, A]."""
        del lengths_B, key
        return jnp.broadcast_to(self.bias[...], (tokens_BT.shape[0], self.bias.shape[0]))
