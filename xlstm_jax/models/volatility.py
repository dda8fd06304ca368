"""Models of tomorrow's variance: a stack of blocks, and four with few parameters: a constant, EWMA, GARCH(1,1), HAR.

All read standardised returns z in the first feature and the logarithm of a variance proxy in the last, and predict the
logarithm of the next day's variance: `unroll` returns outputs [B, T, 1] and a carry.
"""

import dataclasses
import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.config import NonNegativeFloat
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Features
from xlstm_jax.models.sequence_model import SequenceModel

DECAY = 0.94  # of RiskMetrics (1996), for daily returns
PERSISTENCE, NEWS = 0.98, 0.08  # where GARCH starts: alpha + beta, and the share of alpha
LEAST = 1e-6  # keeps EWMA's variance above 0, whose logarithm is not finite, after many days without a change
SPANS = (1, 5, 22)  # days of HAR: a day, a week, a month


@dataclasses.dataclass(frozen=True)
class VolatilityModelConfig(StackConfig, name="model"):
    """A model of the variance."""

    kind: Literal["stack", "constant", "ewma", "garch", "har"] = "stack"  # all but the first are without the stack
    # The stack's output is added to the logarithm of an exponentially weighted mean of the proxy, as a correction.
    residual: bool = True
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the input's map; 0: sqrt(2 / (5 features))


class StackVolatility(SequenceModel):
    """log s_{t+1}^2 = y_t, or y_t + log m_t with `residual`, for the output y of a `SequenceModel`.

    m_t = l m_{t-1} + (1 - l) v_t is an exponentially weighted mean of the proxy v, the exponential of the last feature;
    l is learned. Without it, the network would have to extrapolate where the variance is lower or higher than in
    training.
    """

    config: VolatilityModelConfig

    def __init__(self, config: VolatilityModelConfig, in_features: int, *, rngs: nnx.Rngs):
        sizes = {"dtype": config.dtype}
        super().__init__(
            config,
            lambda rngs: Features(in_features, config.features, std=config.embedding_std, rngs=rngs, **sizes),
            lambda rngs: Head(config.features, 1, rngs=rngs, **sizes),
            rngs=rngs,
        )
        self.mean = Ewma() if config.residual else None

    def unroll(
        self, inputs: jax.Array, carry: tuple[Any, Any] | None = None, **arguments: Any
    ) -> tuple[jax.Array, tuple[Any, Any]]:
        """Outputs [B, T, 1], and the carries of the stack and of the mean; arguments as in `SequenceModel`."""
        before, mean = (None, None) if carry is None else carry
        outputs_BT1, after = super().unroll(inputs, before, **arguments)
        if self.mean is not None:
            log_BT1, mean = self.mean.of_squares(jnp.exp(inputs[..., -1]), mean)
            outputs_BT1 = outputs_BT1 + log_BT1
        return outputs_BT1, (after, mean)


class Constant(nnx.Module):
    """log s^2 = b: the variance of all days is one."""

    def __init__(self):
        self.bias = nnx.Param(jnp.zeros((1,), jnp.float32))

    def unroll(self, inputs: jax.Array, carry: None = None, **_: Any) -> tuple[jax.Array, None]:
        return jnp.broadcast_to(self.bias[...], (*inputs.shape[:2], 1)), None


class Garch(nnx.Module):
    """s_{t+1}^2 = w + a z_t^2 + b s_t^2: a recurrent model with one state, the variance (Bollerslev 1986).

    The parameters are those that keep it stationary: a + b = sigmoid(p), a / (a + b) = sigmoid(q) and the mean variance
    w / (1 - a - b) = exp(m). It starts from the mean variance.
    """

    def __init__(self):
        self.persistence = nnx.Param(jnp.full((1,), _logit(PERSISTENCE), jnp.float32))
        self.news = nnx.Param(jnp.full((1,), _logit(NEWS), jnp.float32))
        self.log_mean = nnx.Param(jnp.zeros((1,), jnp.float32))

    def coefficients(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        """w, a and b, each [1]."""
        total, share = jax.nn.sigmoid(self.persistence[...]), jax.nn.sigmoid(self.news[...])
        return (1 - total) * jnp.exp(self.log_mean[...]), total * share, total * (1 - share)

    def init_carry(self, batch: int) -> jax.Array:
        """The variance of the first day, [B]."""
        return jnp.broadcast_to(jnp.exp(self.log_mean[...]), (batch,))

    def unroll(self, inputs: jax.Array, carry: jax.Array | None = None, **_: Any) -> tuple[jax.Array, jax.Array]:
        """Outputs [B, T, 1], and the variance of the day after the last step, [B]."""
        return self.of_squares(jnp.square(inputs[..., 0]), carry)

    def of_squares(self, square_BT: jax.Array, carry: jax.Array | None) -> tuple[jax.Array, jax.Array]:
        """The same for given z^2, or another proxy of the variance."""
        omega, alpha, beta = self.coefficients()
        first_B = self.init_carry(len(square_BT)) if carry is None else carry

        def step(variance_B: jax.Array, square_B: jax.Array) -> tuple[jax.Array, jax.Array]:
            after_B = omega + alpha * square_B + beta * variance_B
            return after_B, after_B

        last_B, variance_TB = jax.lax.scan(step, first_B, square_BT.T)
        return jnp.log(variance_TB.T)[..., None], last_B


class Ewma(Garch):
    """s_{t+1}^2 = l s_t^2 + (1 - l) z_t^2, which starts from s^2 = 1 and l = 0.94 (RiskMetrics 1996); l is learned."""

    def __init__(self):
        self.decay = nnx.Param(jnp.full((1,), _logit(DECAY), jnp.float32))

    def coefficients(self) -> tuple[jax.Array, jax.Array, jax.Array]:
        decay = jax.nn.sigmoid(self.decay[...])
        return jnp.full_like(decay, LEAST), 1 - decay, decay

    def init_carry(self, batch: int) -> jax.Array:
        return jnp.ones((batch,), jnp.float32)


class Har(nnx.Module):
    """log s_{t+1}^2 = c + sum_k w_k mean(l_{t-k+1}, ..., l_t), k = 1, 5, 22 days, for the last feature l.

    A heterogeneous autoregression of the logarithm of a variance proxy (Corsi 2009, J. Financial Econometrics 7:174).
    """

    def __init__(self):
        self.kernel = nnx.Param(jnp.full((len(SPANS), 1), 0.25, jnp.float32), decay=False)
        self.bias = nnx.Param(jnp.zeros((1,), jnp.float32))

    def unroll(self, inputs: jax.Array, carry: None = None, **_: Any) -> tuple[jax.Array, None]:
        log_BT = inputs[..., -1]
        means_BTK = jnp.stack([_running_mean(log_BT, span) for span in SPANS], axis=-1)
        return means_BTK @ self.kernel[...] + self.bias[...][None, None], None


SIMPLE: dict[str, type[nnx.Module]] = {"constant": Constant, "ewma": Ewma, "garch": Garch, "har": Har}


def _running_mean(x_BT: jax.Array, span: int) -> jax.Array:
    """The mean over the last `span` steps, or over those that there are."""
    padded = jnp.pad(x_BT, ((0, 0), (span - 1, 0)))
    sums_BT = sum(padded[:, first : first + x_BT.shape[1]] for first in range(span))
    return sums_BT / jnp.minimum(jnp.arange(1, x_BT.shape[1] + 1), span).astype(x_BT.dtype)[None]


def _logit(share: float) -> float:
    return math.log(share / (1 - share))
