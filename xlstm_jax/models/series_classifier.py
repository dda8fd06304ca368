"""Classifiers of series of real numbers: a stack that reads them step by step or in patches, and a linear map."""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.config import NonNegativeFloat, NonNegativeInt
from xlstm_jax.errors import UsageError
from xlstm_jax.models.classifier import Classifier, ClassifierConfig
from xlstm_jax.models.inputs import Features, Patches
from xlstm_jax.nn import small_init


@dataclasses.dataclass(frozen=True)
class SeriesClassifierConfig(ClassifierConfig, name="model"):
    """A classifier of series."""

    kind: Literal["stack", "linear", "majority"] = "stack"  # linear: logistic regression; majority: reads nothing
    # Side of the square patches in which a series of H * H steps is read as an image of H rows; 0: step by step.
    patch: NonNegativeInt = 0
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the input map; 0: sqrt(2 / (5 features))


class SquarePatches(nnx.Module):
    """Series of H * H steps as images of H rows, in patches: a linear map of each patch plus a learned position.

    Args:
        steps: H * H.
        channels: of the series.
        patch: side of a patch, a divisor of H.
        features: D.
        dtype: of the output.

    Raises:
        UsageError: the number of steps is 0 or no square, or `patch` does not divide its root.
    """

    def __init__(self, steps: int, channels: int, patch: int, features: int, *, dtype: Any, rngs: nnx.Rngs):
        self.side = math.isqrt(steps)
        if not steps or self.side**2 != steps:
            given = f"series of {steps} steps" if steps else "series of different lengths"
            raise UsageError(f"model.patch {patch} is for square images, not for {given}; set it to 0")
        self.patches = Patches(self.side, self.side, channels, patch, features, dtype=dtype, rngs=rngs)

    def __call__(self, series_BTC: jax.Array, lengths: None = None) -> jax.Array:
        """Maps series [B, H * H, C] to [B, (H / patch)^2, D]."""
        images_BHWC = series_BTC.reshape(series_BTC.shape[0], self.side, self.side, series_BTC.shape[2])
        return self.patches(images_BHWC, lengths)


class SeriesClassifier(Classifier):
    """logits = W pool(stack(input(x))).

    Args:
        config: config of the stack and of the parts around it.
        channels: C, numbers per step.
        classes: A, number of outputs.
        steps: of every series; 0 if lengths vary.
    """

    def __init__(self, config: SeriesClassifierConfig, channels: int, classes: int, steps: int, *, rngs: nnx.Rngs):
        def make_input(rngs: nnx.Rngs) -> Features | SquarePatches:
            if config.patch:
                sizes = steps, channels, config.patch, config.features
                return SquarePatches(*sizes, dtype=config.dtype, rngs=rngs)
            return Features(channels, config.features, std=config.embedding_std, dtype=config.dtype, rngs=rngs)

        super().__init__(config, make_input, classes, rngs=rngs)


class LogisticRegression(nnx.Module):
    """logits = x W + b, of all the numbers of a series: a baseline.

    Args:
        steps: T, of every series.
        channels: C, numbers per step.
        classes: A, number of outputs.

    Raises:
        UsageError: `steps` is 0, which stands for series of different lengths.
    """

    def __init__(self, steps: int, channels: int, classes: int, *, rngs: nnx.Rngs):
        if not steps:
            raise UsageError(
                "model.kind 'linear' is for series of one length, and these have different ones; use stack"
            )
        self.head = nnx.Linear(steps * channels, classes, kernel_init=small_init(steps * channels), rngs=rngs)

    def classify(self, series_BTC: jax.Array, lengths_B: None = None, key: Any = None) -> jax.Array:
        """Logits [B, A]."""
        del lengths_B, key
        return self.head(series_BTC.reshape(series_BTC.shape[0], -1).astype(jnp.float32))
