"""Models of series run freely: each prediction is the next input."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.models.sequence_model import SequenceModel

LIMIT = 10.0  # standard deviations at which a free run is held, so that all its errors are finite


class Prediction(NamedTuple):
    """How a model's output y at a step x, both standardised, predicts the next step: kept x + scale y.

    Attributes:
        kept: share of a step in the prediction of the next: 1 for a model that predicts changes, 0 for one that
            predicts values.
        scale_D: float32 [D], for each variable.
    """

    kept: float
    scale_D: Any

    def error(self, x_BTD: jax.Array, outputs_BTD: jax.Array, target_BTD: jax.Array) -> jax.Array:
        """What the outputs lack, in units of the outputs, [B, T, D]."""
        return (target_BTD - self.kept * x_BTD) / self.scale_D[None, None] - outputs_BTD

    def after(self, x_BD: jax.Array, output_BD: jax.Array) -> jax.Array:
        """The next step, float32 [B, D], held within `LIMIT`."""
        return jnp.clip(self.kept * x_BD + self.scale_D[None] * output_BD.astype(jnp.float32), -LIMIT, LIMIT)


def free_run(
    model: SequenceModel,
    prediction: Prediction,
    prefix_BTD: jax.Array,
    steps: int,
    lengths_B: jax.Array | None = None,
) -> jax.Array:
    """The model's continuation of standardised beginnings, [B, steps, D].

    Args:
        model: reads steps [B, T, D] and gives outputs of the same shape.
        prediction: what its outputs mean.
        prefix_BTD: the beginnings.
        steps: how far to run.
        lengths_B: lengths of right-padded beginnings.
    """
    outputs_BTD, state = model.unroll(prefix_BTD, lengths=lengths_B)

    def step(before: tuple[Any, jax.Array], _: None) -> tuple[tuple[Any, jax.Array], jax.Array]:
        state, x_BD = before
        outputs_B1D, state = model.unroll(x_BD[:, None], state)
        return (state, prediction.after(x_BD, outputs_B1D[:, 0])), x_BD

    first_BD = prediction.after(_last(prefix_BTD, lengths_B), _last(outputs_BTD, lengths_B))
    _, run_KBD = jax.lax.scan(step, (state, first_BD), None, length=steps)
    return jnp.swapaxes(run_KBD, 0, 1)


def _last(x_BTD: jax.Array, lengths_B: jax.Array | None) -> jax.Array:
    """The last step of each row, [B, D]."""
    if lengths_B is None:
        return x_BTD[:, -1]
    return jnp.take_along_axis(x_BTD, (lengths_B - 1)[:, None, None], axis=1)[:, 0]
