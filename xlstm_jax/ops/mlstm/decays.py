"""Sums of log gates inside a chunk, such that the difference of any two keeps its digits.

What a step s gives a step t is weighted by e^(b_t - b_s + log i_s - m_t), b the running sum of log f. One float32
cannot hold b where a gate that is all but shut, of a log of -1e5, say, comes before gates of a log of -1e-3; three can.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.cells.gates import LOWEST

# Steps of the parts: sums of the first are exact in float32 below 2^30, those of the second below 2^17, so for chunks
# of up to 4,096 steps; the sums of the third are small.
TOP, COARSE = 2.0**6, 2.0**-7
# As good as minus infinity for log f. Of what stood before such a gate, nothing is left in any dtype, so that taking it
# for this is exact, unless input gates or states after it are smaller than those before by a factor e^131,000.
SHUT = -(2.0**17)


class Parts(NamedTuple):
    """A finite number as a sum of a multiple of TOP, one of COARSE, and a rest, which has the gradient."""

    top: jax.Array
    coarse: jax.Array
    fine: jax.Array

    @classmethod
    def of(cls, a: jax.Array) -> "Parts":
        known = jax.lax.stop_gradient(a)
        top = jnp.round(known / TOP) * TOP
        coarse = jnp.round((known - top) / COARSE) * COARSE
        return cls(top, coarse, (a - top) - coarse)

    def map(self, function) -> "Parts":
        return Parts(*map(function, self))

    def minus(self, other: "Parts") -> "Parts":
        return Parts(*(a - b for a, b in zip(self, other, strict=True)))

    def source(self, log_i: jax.Array) -> "Parts":
        """log i - b, of this b; minus infinity stands in the rest."""
        whole = jax.lax.stop_gradient(jnp.round(jnp.maximum(log_i, jnp.asarray(LOWEST, log_i.dtype))))
        return Parts(-self.top, whole - self.coarse, (log_i - whole) - self.fine)

    def total(self) -> jax.Array:
        return self.top + (self.coarse + self.fine)


def log_forget(log_f: jax.Array) -> Parts:
    """log f, SHUT at least."""
    return Parts.of(jnp.maximum(log_f, jnp.asarray(SHUT, log_f.dtype)))


def decays(log_f, reset):
    """b as parts [B,H,L], the mask of what a step sees [..,L,L], the decay from the chunk's start or the last reset to
    each step [B,H,L], and `fresh` [..,L]: no reset so far.
    """
    length = log_f.shape[-1]
    gates = log_forget(log_f)
    mask = jnp.tril(jnp.ones((1, 1, length, length), bool))
    # By a product, which XLA keeps in memory: a cumulative sum it would make again for each pair of steps.
    b = Parts(*jnp.einsum("pbhs,ts->pbht", jnp.stack(gates), mask[0, 0].astype(log_f.dtype), precision="highest"))
    fresh = jnp.ones((1, 1, length), bool)
    decay = b
    if reset is not None:
        segment = jnp.cumsum(reset, axis=-1, dtype=jnp.int32)[:, None, :]
        mask = mask & (segment[..., :, None] == segment[..., None, :])
        fresh = segment == 0
        # Sums inside segments, so that no gradient passes a reset, not even a rounding error.
        decay = gates.map(lambda part: jnp.sum(jnp.where(mask, part[..., None, :], 0), axis=-1))
        b = b._replace(fine=decay.fine)
    return b, mask, decay.total(), fresh


def exponent(of_t: Parts, of_s: Parts, mask):
    """D_ts - m_t from b_t - m_t and log i_s - b_s, large parts first; -inf where t does not see s."""
    top, coarse, fine = (t[..., :, None] + s[..., None, :] for t, s in zip(of_t, of_s, strict=True))
    return jnp.where(mask, (top + coarse) + fine, -jnp.inf)
