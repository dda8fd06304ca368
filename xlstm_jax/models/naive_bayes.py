"""Naive Bayes on tokens and pairs of tokens, a baseline of text classification."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.shapes import padding_mask

BUCKETS = 2**20  # of the pairs; far more than the pairs of a text of some megabytes


class NaiveBayes(nnx.Module):
    """Multinomial naive Bayes with add-one smoothing (McCallum & Nigam 1998; with pairs, Wang & Manning 2012).

        logit_c = log (n_c + 1) + sum over features f of the text of log (n_fc + 1) / (sum_f n_fc + F)

    Features are the tokens, and the pairs that they make with the token before. n_fc is how often f is in the training
    texts of class c, n_c the number of these texts, F the number of different features. Features that training does not
    have are left out. Pairs share 2^20 counts by a hash.

    The parameters are the counts. `learned` has a gradient that counts, so that plain gradient descent with a learning
    rate of 1 over one epoch counts each text once.

    Args:
        vocab_size: number of tokens.
        classes: A, number of classes.
        buckets: counts for pairs.
    """

    def __init__(self, vocab_size: int, classes: int, buckets: int = BUCKETS):
        counts = {"texts": (classes,), "tokens": (vocab_size, classes), "pairs": (buckets, classes)}
        for name, shape in counts.items():
            setattr(self, name, nnx.Param(jnp.zeros(shape, jnp.float32), decay=False))

    def classify(self, tokens_BT: jax.Array, lengths_B: jax.Array, key: Any = None) -> jax.Array:
        """Logits [B, A]."""
        del key
        tables = [table[...] for table in (self.tokens, self.pairs)]
        seen = [jnp.sum(table, axis=1) > 0 for table in tables]
        different = sum(jnp.sum(seen_F, dtype=jnp.float32) for seen_F in seen)
        total_A = sum(jnp.sum(table, axis=0) for table in tables) + different
        log_total_1A = jnp.log(jnp.maximum(total_A, 1))[None]
        logits_BA = jnp.broadcast_to(jnp.log(self.texts[...] + 1), (tokens_BT.shape[0], self.texts.shape[0]))
        for table, seen_F, places_BT in zip(tables, seen, self._places(tokens_BT), strict=True):
            there_BT = seen_F[places_BT] & ~padding_mask(lengths_B, tokens_BT.shape[1])
            log_BA = jnp.sum(jnp.where(there_BT[..., None], jnp.log(table[places_BT] + 1), 0), axis=1)
            logits_BA += log_BA - jnp.sum(there_BT, axis=1, dtype=jnp.float32)[:, None] * log_total_1A
        return logits_BA

    def learned(
        self, nats_B: jax.Array, tokens_BT: jax.Array, label_B: jax.Array, lengths_B: jax.Array, *, rows: int
    ) -> jax.Array:
        """`nats_B`, with the gradient that the mean over `rows` rows is minus the counts of these texts."""
        there_BT = ~padding_mask(lengths_B, tokens_BT.shape[1])
        sum_B = jnp.where(lengths_B > 0, self.texts[...][label_B], 0)
        for table, places_BT in zip((self.tokens, self.pairs), self._places(tokens_BT), strict=True):
            sum_B += jnp.sum(jnp.where(there_BT, table[...][places_BT, label_B[:, None]], 0), axis=1)
        return jax.lax.stop_gradient(nats_B) - rows * (sum_B - jax.lax.stop_gradient(sum_B))

    def _places(self, tokens_BT: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Where tokens and pairs are counted, [B, T] each."""
        return tokens_BT, pair_buckets(tokens_BT, self.pairs.shape[0])


def pair_buckets(tokens_BT: jax.Array, buckets: int) -> jax.Array:
    """The bucket, from 0 to buckets - 1, of each token [B, T] and the one before; 0 is before the first one.

    A multiplicative hash in 32 bits.
    """
    given_BT = jnp.asarray(tokens_BT).astype(jnp.uint32)
    before_BT = jnp.pad(given_BT, ((0, 0), (1, 0)))[:, :-1]
    mixed_BT = (before_BT * jnp.uint32(0x9E3779B1) + given_BT) * jnp.uint32(0x85EBCA6B)
    mixed_BT = (mixed_BT ^ (mixed_BT >> jnp.uint32(15))) * jnp.uint32(0xC2B2AE35)
    return ((mixed_BT ^ (mixed_BT >> jnp.uint32(16))) % jnp.uint32(buckets)).astype(jnp.int32)
