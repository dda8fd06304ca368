"""Sequence-to-sequence models: an encoder, and a decoder that may attend to it."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.checks import check_sizes
from xlstm_jax.config import NonNegativeFloat, NonNegativeInt, PositiveInt, Rate
from xlstm_jax.errors import UsageError
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import Directions
from xlstm_jax.models.encoders import Encoder
from xlstm_jax.models.heads import Head, Pooling, capped, pooled
from xlstm_jax.models.inputs import Tokens
from xlstm_jax.models.stack import Stack
from xlstm_jax.nn import BahdanauAttention, LuongAttention, linear, small_init
from xlstm_jax.shapes import padding_mask, select, zero_padding


@dataclasses.dataclass(frozen=True)
class DecoderConfig(StackConfig, name="model"):
    """A decoder that writes a text from what an encoder has read; `pattern` is the decoder's."""

    # none: all that the decoder knows of the source is the encoder's last state, or a summary of its outputs.
    attention: Literal["none", "bahdanau", "dot", "general", "concat"] = "general"
    input_feeding: bool = False  # Luong's attention: each step also reads the attentional state of the one before
    # Use the decoder's embedding matrix in the head. The inputs from it are then multiplied by sqrt(features), and the
    # matrix starts that much smaller, so that inputs and outputs both have a suitable size (Vaswani et al. 2017).
    tie_embedding: bool = False
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the embeddings; 0: sqrt(2 / (5 features))
    head_dropout: Rate = 0.0  # dropout rate of the decoder's output
    label_smoothing: Rate = 0.0  # share of each target's probability that training spreads over all tokens
    most_tokens: NonNegativeInt = 0  # of a predicted text; 0: twice the source's padded length, and 8 more
    beams: PositiveInt = 5  # candidates of the beam search; 1: greedy
    length_penalty: NonNegativeFloat = 0.6  # of the beam search; see `generate.beam_search`
    coverage_penalty: NonNegativeFloat = 0.0  # likewise; needs attention

    def __post_init__(self):
        super().__post_init__()
        if self.attention == "none" and self.coverage_penalty:
            raise UsageError(f"model.coverage_penalty {self.coverage_penalty} needs attention; set it to 0")
        if self.input_feeding and self.attention in ("none", "bahdanau"):
            raise UsageError(
                f"model.input_feeding is for attention dot, general or concat, not {self.attention!r}; set it to False"
            )

    @property
    def shares_carry(self) -> bool:
        """Whether the decoder starts from the encoder's carry."""
        return False

    @property
    def summary(self) -> Pooling:
        """How the encoder's outputs become one vector, for a decoder that does not start from its carry."""
        return "ends"


@dataclasses.dataclass(frozen=True)
class Seq2SeqConfig(DecoderConfig, name="model"):
    """An encoder of sequences and a decoder."""

    encoder_pattern: str = ""  # blocks of the encoder; "": those of `pattern`
    directions: Directions = "both"  # of the encoder: forward, alternate (every second block backward) or both

    @property
    def shares_carry(self) -> bool:
        """Whether the decoder starts from the encoder's carry: it reads forward and has the same blocks."""
        return self.directions == "forward" and self.encoder_pattern in ("", self.pattern)

    @property
    def encoder(self) -> StackConfig:
        """The config of the encoder's stack; without a final norm if nothing but its carry is used."""
        norm = self.final_norm and not (self.shares_carry and self.attention == "none")
        return dataclasses.replace(self, pattern=self.encoder_pattern or self.pattern, final_norm=norm)


class DecoderCarry(NamedTuple):
    """What the decoder knows; the batch is the first axis of each array."""

    stack: Any
    fed_BD: jax.Array  # the last step's output, for input feeding and for Bahdanau's attention
    attended_BS: jax.Array  # the sum of the attention weights so far
    memory_BSD: jax.Array  # the encoder's features; no steps without attention
    keys_BSF: jax.Array
    lengths_B: jax.Array  # of the source
    summary_BD: jax.Array  # added to each input


class Seq2Seq(nnx.Module):
    """p(y_t | y_<t, source) = softmax(head(o_t)), where o_t is from the decoder's state h_t and its attention.

        none         h_t = stack(E y_t-1)                                              o_t = h_t
        bahdanau     c_t = attention(h_t-1)    h_t = stack(E y_t-1 + W c_t)            o_t = tanh(U [h_t; c_t])
        dot, general, concat    h_t = stack(E y_t-1 (+ W o_t-1))    o_t = tanh(U [attention(h_t); h_t])

    Sutskever et al. 2014 (arXiv 1409.3215); Bahdanau et al. 2015 (arXiv 1409.0473), with the sum in place of the gated
    input; Luong et al. 2015 (arXiv 1508.04025). The decoder starts from the carry of an encoder that reads forward and
    has the same blocks; else tanh(V pool(memory)) is added to each of its inputs. Implements `generate.Attending`.

    Args:
        config: sizes and options.
        make_encoder: makes the encoder from the random streams.
        vocab_size: A, of the target.
        begin: the token before the first one.
    """

    def __init__(
        self,
        config: DecoderConfig,
        make_encoder: Callable[[nnx.Rngs], Encoder],
        vocab_size: int,
        *,
        begin: int,
        rngs: nnx.Rngs,
    ):
        check_sizes("Seq2Seq", vocab_size=vocab_size)
        features, dtype = config.features, config.dtype
        self.config, self.vocab_size, self.begin = config, vocab_size, begin
        self.encoder = make_encoder(rngs)
        self.scale = features**0.5 if config.tie_embedding else 1.0
        std = (config.embedding_std or (2 / (5 * features)) ** 0.5) / self.scale
        self.embedding = Tokens(vocab_size, features, std=std, dtype=dtype, rngs=rngs)
        self.stack = Stack(config, rngs=rngs)
        maps = {"axes": ("embed", None), "dtype": dtype, "rngs": rngs}
        wide = features * (2 if config.summary == "ends" else 1)
        self.bridge = None if config.shares_carry else linear(wide, features, small_init(features), **maps)
        kinds = {"bahdanau": BahdanauAttention, "none": None}
        kind, score = kinds.get(config.attention, LuongAttention), config.attention
        # Both sides of a score come out of a norm, with entries of size 1.
        options = {"score": score, "scale": features**-0.5} if kind is LuongAttention else {}
        self.attention = kind and kind(features, features, features, **options, dtype=dtype, rngs=rngs)
        self.feed = linear(features, features, small_init(features), **maps) if self.stepwise else None
        self.out = linear(2 * features, features, small_init(features), **maps) if score == "bahdanau" else None
        self.head = None if config.tie_embedding else Head(features, vocab_size, dtype=dtype, rngs=rngs)
        self.dropped = nnx.Dropout(config.head_dropout)

    @property
    def stepwise(self) -> bool:
        """Whether a step's input depends on the output of the step before, so that training is step by step too."""
        return self.config.input_feeding or self.config.attention == "bahdanau"

    def encode(self, source: Any, lengths: jax.Array | None, key: jax.Array | None = None) -> DecoderCarry:
        """Reads the sources; returns the carry before the first token. Without lengths, all features count."""
        memory_BSD, carry = self.encoder(source, lengths, key)
        rows, dtype = memory_BSD.shape[0], memory_BSD.dtype
        lengths = jnp.full((rows,), memory_BSD.shape[1], jnp.int32) if lengths is None else lengths
        summary_BD = jnp.zeros((rows, self.config.features), dtype)
        if self.bridge is not None:
            pooled_BE = pooled(memory_BSD, lengths, self.config.summary)
            carry, summary_BD = self.stack.init_carry(rows), jnp.tanh(self.bridge(pooled_BE))
        memory_BSD = memory_BSD[:, :0] if self.attention is None else zero_padding(memory_BSD, lengths)
        keys_BSF = memory_BSD if self.attention is None else self.attention.keys(memory_BSD)
        attended_BS = jnp.zeros(memory_BSD.shape[:2], jnp.float32)
        fed_BD = jnp.zeros_like(summary_BD)
        return DecoderCarry(carry, fed_BD, attended_BS, memory_BSD, keys_BSF, lengths, summary_BD)

    def unroll(
        self,
        tokens_BT: jax.Array,
        carry: DecoderCarry,
        *,
        lengths: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, jax.Array]:
        """Logits [B, T, A] of the token after each of the given ones, and the attention weights [B, T, S]."""
        key, head_key = (None, None) if key is None else jax.random.split(key)
        x_BTD = self._embedded(tokens_BT, lengths) + carry.summary_BD[:, None]
        if not self.stepwise:
            h_BTD, _ = self.stack(x_BTD, carry.stack, lengths=lengths, key=key)
            o_BTD, weights_BTS = self._attended(h_BTD, carry)
        else:

            def step(carry, inputs):
                x_BD, live_B, time = inputs
                carry, o_BD, weights_BS = self._step(
                    x_BD, carry, live_B, None if key is None else jax.random.fold_in(key, time)
                )
                return carry, (o_BD, weights_BS)

            time = tokens_BT.shape[1]
            live_BT = jnp.ones(tokens_BT.shape, jnp.int32)
            if lengths is not None:
                live_BT = (~padding_mask(lengths, time)).astype(jnp.int32)
            inputs = jnp.moveaxis(x_BTD, 1, 0), live_BT.T, jnp.arange(time, dtype=jnp.int32)
            _, (o_TBD, weights_TBS) = jax.lax.scan(step, carry, inputs)
            o_BTD, weights_BTS = (jnp.moveaxis(a, 0, 1) for a in (o_TBD, weights_TBS))
        return self._logits(self.dropped(o_BTD, deterministic=head_key is None, rngs=head_key)), weights_BTS

    def start(self, source: Any, lengths: jax.Array) -> tuple[DecoderCarry, jax.Array]:
        """Reads the sources; returns the carry and the logits [B, A] of the first token."""
        carry = self.encode(source, lengths)
        logits_BA, carry = self.step(jnp.full(lengths.shape, self.begin, jnp.int32), carry)
        return carry, logits_BA

    def step(
        self, token_B: jax.Array, carry: DecoderCarry, live_B: jax.Array | None = None
    ) -> tuple[jax.Array, DecoderCarry]:
        """Reads one token per row; returns the logits [B, A] and the carry. Rows with `live_B` 0 keep their carry."""
        x_BD = self._embedded(token_B[:, None])[:, 0] + carry.summary_BD
        carry, o_BD, _ = self._step(x_BD, carry, live_B, None)
        return self._logits(o_BD), carry

    def coverage(self, carry: DecoderCarry) -> tuple[jax.Array, jax.Array]:
        """The attention to each position of the source so far, [B, S], and which positions there are."""
        return carry.attended_BS, ~padding_mask(carry.lengths_B, carry.attended_BS.shape[1])

    def _step(self, x_BD, carry: DecoderCarry, live_B, key) -> tuple[DecoderCarry, jax.Array, jax.Array]:
        """The carry after a step, its output o [B, D] and its attention weights [B, S]."""
        context_BD = None
        if self.config.attention == "bahdanau":
            context_BD, weights_BS = self.attention(
                carry.fed_BD, carry.memory_BSD, carry.lengths_B, keys_BSF=carry.keys_BSF
            )
            x_BD = x_BD + self.feed(context_BD)
        elif self.feed is not None:
            x_BD = x_BD + self.feed(carry.fed_BD)
        h_B1D, stack = self.stack(x_BD[:, None], carry.stack, lengths=live_B, key=key)
        h_BD = h_B1D[:, 0]
        if context_BD is None:
            o_B1D, weights_B1S = self._attended(h_B1D, carry)
            o_BD, weights_BS, fed_BD = o_B1D[:, 0], weights_B1S[:, 0], o_B1D[:, 0]
        else:
            o_BD, fed_BD = jnp.tanh(self.out(jnp.concatenate([h_BD, context_BD], axis=-1))), h_BD
        attended_BS = carry.attended_BS + weights_BS.astype(jnp.float32)
        if live_B is not None:
            fed_BD, attended_BS = select(live_B > 0, (fed_BD, attended_BS), (carry.fed_BD, carry.attended_BS))
        return carry._replace(stack=stack, fed_BD=fed_BD, attended_BS=attended_BS), o_BD, weights_BS

    def _attended(self, h_BTD: jax.Array, carry: DecoderCarry) -> tuple[jax.Array, jax.Array]:
        """o [B, T, D] and weights [B, T, S] of Luong's attention, or h and no weights."""
        if self.attention is None:
            return h_BTD, jnp.zeros((*h_BTD.shape[:2], 0), jnp.float32)
        return self.attention(h_BTD, carry.memory_BSD, carry.lengths_B, keys_BSF=carry.keys_BSF)

    def _embedded(self, tokens_BT: jax.Array, lengths: jax.Array | None = None) -> jax.Array:
        x_BTD = self.embedding(tokens_BT, lengths)
        return x_BTD * jnp.asarray(self.scale, x_BTD.dtype)

    def _logits(self, o: jax.Array) -> jax.Array:
        return capped(self.embedding.attend(o), 0.0) if self.head is None else self.head(o)
