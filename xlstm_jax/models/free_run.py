"""Free runs: a model of a series that reads its own predictions."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

LIMIT = 10.0  # standard deviations at which a free run is held, so that all its errors are finite


class Update(NamedTuple):
    """What follows a step x by a model's output y: kept x + scale y.

    Attributes:
        kept: share of x.
        scale_D: float32.
    """

    kept: float
    scale_D: np.ndarray

    def following(self, x: jax.Array, output: jax.Array) -> jax.Array:
        """[..., D] of steps and outputs [..., D], float32."""
        return self.kept * x + self._scale(x) * output.astype(jnp.float32)

    def output(self, x: Any, following: Any) -> Any:
        """The output that would be right, [..., D]; over NumPy or jax arrays."""
        return (following - self.kept * x) / self._scale(x)

    def _scale(self, x: Any) -> np.ndarray:
        return self.scale_D.reshape(*(1,) * (x.ndim - 1), -1)


def free_run(
    model: Any, prefix_BTD: jax.Array, steps: int, update: Update, lengths_B: jax.Array | None = None
) -> jax.Array:
    """The model's continuation [B, steps, D] of standardised beginnings; each prediction is its next input.

    Args:
        model: called like a `SequenceModel`, with D outputs.
        prefix_BTD: the beginnings.
        steps: of the continuation.
        update: what the outputs mean.
        lengths_B: steps of each beginning, int32; None: all have T.
    """
    outputs_BTD, state = model.unroll(prefix_BTD, lengths=lengths_B)

    def after(x_BD: jax.Array, output_BD: jax.Array) -> jax.Array:
        return jnp.clip(update.following(x_BD, output_BD), -LIMIT, LIMIT)

    def step(before: tuple[Any, jax.Array], _: None) -> tuple[tuple[Any, jax.Array], jax.Array]:
        state, x_BD = before
        outputs_B1D, state = model.unroll(x_BD[:, None], state)
        return (state, after(x_BD, outputs_B1D[:, 0])), x_BD

    first_BD = after(_last(prefix_BTD, lengths_B), _last(outputs_BTD, lengths_B))
    _, run_KBD = jax.lax.scan(step, (state, first_BD), None, length=steps)
    return jnp.swapaxes(run_KBD, 0, 1)


def _last(x_BTD: jax.Array, lengths_B: jax.Array | None) -> jax.Array:
    """The last step of each row, [B, D]."""
    if lengths_B is None:
        return x_BTD[:, -1]
    return jnp.take_along_axis(x_BTD, (lengths_B - 1)[:, None, None], axis=1)[:, 0]
