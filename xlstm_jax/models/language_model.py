"""A stack of blocks between an embedding and a head."""

import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.autodiff import forward_mode
from xlstm_jax.checks import check_dtype, check_sizes, checked, outline
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks import BLOCKS, check_context
from xlstm_jax.models.config import ModelConfig
from xlstm_jax.models.stack import run_blocks, scannable, single
from xlstm_jax.nn import NORMS, linear, small_init, softcap
from xlstm_jax.shapes import state_dtype, zero_padding
from xlstm_jax.sharding import ACTIVATIONS, AXES, constrain


class LanguageModel(nnx.Module):
    """Token logits from a stack of blocks: embedding -> blocks of `config.pattern` -> norm -> head.

    With `config.input_features` each step reads as many real numbers in place of a token, and what the head gives may
    be any `vocab_size` numbers.

    Calling the model gives logits alone, from an empty carry; `unroll` takes and returns the carry, so that a sequence
    can be read in pieces, and generation uses the very function that was trained.
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        if config.input_features and config.tie_embedding:
            raise UsageError(f"model.tie_embedding has no meaning with model.input_features {config.input_features}")
        dtype = check_dtype("LanguageModel", config.dtype)
        init = small_init(config.features)
        embedding_init = nnx.initializers.normal(config.embedding_std) if config.embedding_std else init
        self.config = config
        if config.input_features:
            # With a bias of zero, norms would hide how large one number is, and blow up gradients where it is 0.
            init_both = {"kernel_init": embedding_init, "bias": True, "bias_init": embedding_init}
            out = {"axes": (None, "embed"), "dtype": dtype, "rngs": rngs}
            self.embedding = linear(config.input_features, config.features, **init_both, **out)
        else:
            self.embedding = nnx.Embed(
                config.vocab_size, config.features, embedding_init=embedding_init, dtype=dtype, rngs=rngs
            )
            self.embedding.embedding.set_metadata(axes=("vocab", "embed"))
        blocks = [BLOCKS.get(letter)(config, index, rngs=rngs) for index, letter in enumerate(config.letters)]
        self.blocks = nnx.List(scannable(blocks, config.letters) if config.scan_layers else blocks)
        norm = NORMS[config.norm] if config.final_norm else None
        self.norm = norm and norm(config.features, eps=config.norm_eps, dtype=dtype, rngs=rngs)
        out = {"axes": ("embed", "vocab"), "dtype": dtype, "rngs": rngs}
        self.head = None if config.tie_embedding else linear(config.features, config.vocab_size, init, **out)
        self.dropout = nnx.Dropout(config.dropout)

    def init_carry(self, batch: int) -> tuple[Any, ...]:
        """The carry before the first token, one entry a block."""
        check_sizes("LanguageModel", 0, batch=batch)
        return tuple(block.init_carry(batch) for block in single(self.blocks))

    def __call__(self, tokens_BT: jax.Array) -> jax.Array:
        """Logits [B, T, A], float32: those at t see the tokens up to and including t."""
        return self.unroll(tokens_BT)[0]

    def unroll(
        self,
        tokens_BT: jax.Array,
        carry: tuple[Any, ...] | None = None,
        *,
        reset: jax.Array | None = None,
        lengths: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, tuple[Any, ...]]:
        """Logits [B, T, A] and the carry after the last token: `logits` of `hidden`.

        Args:
            tokens_BT: ints under the vocabulary's size (others: see `known_tokens`); real [B, T, input_features] where
                the config says so.
            carry: from `init_carry` or from the call before; None is `init_carry`.
            reset: [B, T] bools, true where everything from before that token is forgotten.
            lengths: [B] ints, right padding: padded tokens leave the carry as it is, and have no gradient.
            key: random key for dropout; None: no dropout.
        """
        x_BTD, carry = self.hidden(tokens_BT, carry, reset=reset, lengths=lengths, key=key)
        return self.logits(x_BTD), carry

    def hidden(self, tokens_BT, carry=None, *, reset=None, lengths=None, key=None) -> tuple[jax.Array, tuple[Any, ...]]:
        """What the head sees, [B, T, D], and the carry after the last token; arguments of `unroll`."""
        depth = len(self.config.letters)
        tokens_BT, carry, reset, lengths = self._checked(tokens_BT, carry, reset, lengths)
        keys = [None] * (depth + 1) if key is None else jax.random.split(key, depth + 1)
        x = constrain(self.embedding(tokens_BT), ACTIVATIONS)
        x = self.dropout(x, deterministic=key is None, rngs=keys[-1])
        with forward_mode(self.config.forward_mode):
            x, carry = run_blocks(
                self.blocks,
                x,
                carry,
                keys[:-1],
                remat=self.config.remat,
                reset=reset,
                lengths=lengths,
            )
        return (x if self.norm is None else self.norm(x)), carry

    def _checked(self, tokens, carry, reset, lengths) -> tuple[Any, ...]:
        """The arguments as arrays that fit each other, and tokens that are in the vocabulary."""
        config, masks = self.config, {"reset_BT": reset, "lengths_B": lengths}
        depth = len(config.letters)
        if carry is not None and (type(carry) not in (tuple, list) or len(carry) != depth):
            raise UsageError(
                f"LanguageModel got carry {outline(carry)}; wanted a tuple of {depth}, one of each block of "
                f"{config.pattern!r}, as init_carry makes it"
            )
        carry = (None,) * depth if carry is None else carry
        if config.input_features:
            x_BTD, reset, lengths = checked("LanguageModel", {"D": config.input_features}, x_BTD=tokens, **masks)
            # The input's map and norms come before the blocks' own masks: 0 times a NaN is a NaN.
            return zero_padding(x_BTD, lengths), carry, reset, lengths
        tokens_BT, reset, lengths = checked("LanguageModel", tokens_BT=tokens, **masks)
        return known_tokens(tokens_BT, config.vocab_size, lengths), carry, reset, lengths

    def logits(self, x: jax.Array) -> jax.Array:
        """[..., A], float32 at least, of what `hidden` gives, [..., D]."""
        logits = self.head(x) if self.head is not None else self.embedding.attend(x)
        return softcap(logits.astype(state_dtype(logits)), self.config.logit_softcap)


def known_tokens(tokens_BT: jax.Array, vocab_size: int, lengths_B: jax.Array | None = None) -> jax.Array:
    """Tokens in 0 to vocab_size - 1: others are refused where their values are known, else become the nearest of these.

    Values are known outside of jit alone. Inside it a lookup would give NaN above the vocabulary and count from its end
    below 0. Tokens in the padding after `lengths_B` may be any number.

    Raises:
        UsageError: a token outside the vocabulary, by its place.
    """
    most = min(vocab_size - 1, jnp.iinfo(tokens_BT.dtype).max)
    given = (tokens_BT,) if lengths_B is None else (tokens_BT, lengths_B)
    if all(not isinstance(a, jax.core.Tracer) and getattr(a, "is_fully_addressable", True) for a in given):
        values, *lengths = map(np.asarray, given)
        outside = wrong = (values < 0) | (values >= vocab_size)
        if lengths:
            wrong = outside & (np.arange(values.shape[1]) < lengths[0][:, None])
        if wrong.any():
            place = (*map(int, np.argwhere(wrong)[0]),)
            raise UsageError(
                f"token {values[place]} at {place} is outside the vocabulary; tokens lie in 0 to {vocab_size - 1}"
            )
        if not outside.any():
            return tokens_BT
    return jnp.clip(tokens_BT, 0, most)


def unscanned(model: LanguageModel) -> LanguageModel:
    """The same model with each block by itself, as without `config.scan_layers`.

    For decoding: a scan copies each layer's parameters out of the stack, which for one token costs as much as to use
    them.
    """
    if not model.config.scan_layers:
        return model
    plain = nnx.clone(model)
    plain.config = dataclasses.replace(model.config, scan_layers=False)
    plain.blocks = nnx.List(single(model.blocks))
    return plain


def build_model(config: ModelConfig, *, rngs: nnx.Rngs | None = None) -> LanguageModel:
    """The model that `config` describes, freshly initialised; `rngs` defaults to seed 0.

    Raises:
        UsageError: sizes that do not fit together, an unknown letter or cell, or a block that cannot run on the parts
            of a sequence where the mesh in the context splits it.
    """
    mesh = jax.sharding.get_abstract_mesh()
    check_context(config, math.prod(mesh.shape.get(axis, 1) for axis in AXES["time"]))
    return LanguageModel(config, rngs=nnx.Rngs(0) if rngs is None else rngs)
