"""The CRF's partition function in parallel over time: a product of matrices in the log semiring, in pairs."""

import jax
import jax.numpy as jnp

from xlstm_jax.ops.crf.weights import IMPOSSIBLE, CRFWeights


def log_partition(emissions_BTA: jax.Array, weights: CRFWeights, padding_BT: jax.Array) -> jax.Array:
    """log Z [B] of finite scores; as the scan, in ceil(log2 T) steps instead of T.

    Step t is the matrix M_t(i, j) = T_ij + e_t(j), padding the identity. Two neighbours combine to
    log sum_k exp(L(i, k) + R(k, j)). That is exact for scores of any size, and takes A times the work of the scan.
    """
    tags = emissions_BTA.shape[2]
    identity_AA = jnp.where(jnp.eye(tags, dtype=bool), 0.0, IMPOSSIBLE).astype(emissions_BTA.dtype)
    steps_BTAA = weights.transitions_AA[None, None] + emissions_BTA[:, 1:, None, :]
    steps_BTAA = jnp.where(padding_BT[:, 1:, None, None], identity_AA[None, None], steps_BTAA)
    while (time := steps_BTAA.shape[1]) > 1:
        pairs_BTAA = _combined(steps_BTAA[:, 0 : time - 1 : 2], steps_BTAA[:, 1:time:2])
        steps_BTAA = jnp.concatenate([pairs_BTAA, steps_BTAA[:, time - time % 2 :]], axis=1)
    alpha_BA = weights.start_A[None] + emissions_BTA[:, 0]
    if time:
        alpha_BA = jax.nn.logsumexp(alpha_BA[:, :, None] + steps_BTAA[:, 0], axis=1)
    return jax.nn.logsumexp(alpha_BA + weights.end_A[None], axis=1)


def _combined(left_BTAA: jax.Array, right_BTAA: jax.Array) -> jax.Array:
    return jax.nn.logsumexp(left_BTAA[:, :, :, :, None] + right_BTAA[:, :, None], axis=3)
