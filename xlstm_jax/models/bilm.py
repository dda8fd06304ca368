"""Bidirectional language models, and their states as the input of other models: ELMo.

Peters et al. 2018, "Deep contextualized word representations" (arXiv 1802.05365).
"""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from xlstm_jax.config import Rate
from xlstm_jax.models.config import StackConfig
from xlstm_jax.models.directions import turned
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Input, replaced
from xlstm_jax.models.stack import Stack
from xlstm_jax.models.words import WordInput, Words, WordsConfig
from xlstm_jax.nn import linear, small_init
from xlstm_jax.shapes import padding_mask, zero_padding

END = 0  # the class of what is before the first word and after the last one
NORM_EPS = 1e-6


@dataclasses.dataclass(frozen=True)
class BiLMConfig(WordsConfig, name="model"):
    """A bidirectional language model; `pattern` is that of each direction."""

    head_dropout: Rate = 0.0  # dropout rate of the softmax's input


class Reader(nnx.Module):
    """Two stacks over the same words, one in each direction; each begins with a step of its own before any word.

    Args:
        config: of each stack, and of the words' input.
        words, letters, spelling: sizes of the input, see `WordInput`.
    """

    def __init__(self, config: BiLMConfig, words: int, letters: int, spelling: int, *, rngs: nnx.Rngs):
        self.config, self.numbers = config, spelling
        self.input = WordInput(config, words, letters, spelling, rngs=rngs)
        self.forward, self.backward = (Stack(config, rngs=rngs) for _ in range(2))
        start = small_init(config.features)(rngs.params(), (2, config.features), jnp.float32)
        self.start = nnx.Param(start, decay=False)

    def __call__(
        self, words: Words, lengths: jax.Array | None = None, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """The last states [B, 1 + T, D] of both directions in the order of reading: forward, from the end backward."""
        keys = (None, None) if key is None else jax.random.split(key)
        (forward_BSD, backward_BSD), lengths = self._inputs(words, lengths)
        forward_BSD, _ = self.forward(forward_BSD, lengths=lengths, key=keys[0])
        backward_BSD, _ = self.backward(backward_BSD, lengths=lengths, key=keys[1])
        return forward_BSD, backward_BSD

    def layers(self, words: Words, lengths: jax.Array | None = None) -> list[jax.Array]:
        """[B, T, 2 D] at each word, of the input and of each block: what is read forward, and what backward.

        h_t0 = [x_t; x_t], h_tj = [forward_tj; backward_tj]; of the last block after the final norm.
        """
        (forward_BSD, backward_BSD), longer = self._inputs(words, lengths)
        forward, backward = self.forward.layers(forward_BSD, longer), self.backward.layers(backward_BSD, longer)
        return [
            jnp.concatenate([one[:, 1:], turned(other[:, 1:], lengths)], axis=-1)
            for one, other in zip(forward, backward, strict=True)
        ]

    def _inputs(self, words: Words, lengths: jax.Array | None) -> tuple[list[jax.Array], jax.Array | None]:
        """The inputs [B, 1 + T, D] of both directions, and their lengths; empty rows stay empty."""
        x_BTD = self.input(words, lengths)
        start_2D, shape = self.start[...].astype(x_BTD.dtype), (x_BTD.shape[0], 1, x_BTD.shape[2])
        read = [
            jnp.concatenate([jnp.broadcast_to(first_D, shape), one_BTD], axis=1)
            for first_D, one_BTD in zip(start_2D, (x_BTD, turned(x_BTD, lengths)), strict=True)
        ]
        return read, None if lengths is None else jnp.where(lengths > 0, lengths + 1, 0)


class BiLM(nnx.Module):
    """Predicts each word from those before it, and from those after it, by one softmax (section 3.1).

        p(w_t | w_1 .. w_t-1) = softmax(head(forward_t-1)),  p(w_t | w_t+1 .. w_T) = softmax(head(backward_t+1))

    The ends of a sentence are predicted too, as the class `END`.

    Args:
        config: see `BiLMConfig`.
        words, letters, spelling: sizes of the input, see `WordInput`; `words` is also the number of classes.
        unknown: the token that replaces dropped words in training, as an input.
    """

    def __init__(self, config: BiLMConfig, words: int, letters: int, spelling: int, *, unknown: int, rngs: nnx.Rngs):
        self.config, self.unknown = config, unknown
        self.reader = Reader(config, words, letters, spelling, rngs=rngs)
        self.head = Head(config.features, words, dtype=config.dtype, rngs=rngs)
        self.dropped = nnx.Dropout(config.head_dropout)

    def nats(
        self, words: Words, lengths: jax.Array | None = None, key: jax.Array | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """-log p [B, T + 1] of what comes next in each direction, in the order of reading; 0 in the padding.

        Dropout is active if a `key` is given.
        """
        token_key, stack_key, *head_keys = (None,) * 4 if key is None else jax.random.split(key, 4)
        states = self.reader(replaced(words, self.unknown, self.config.token_dropout, token_key), lengths, stack_key)
        tokens_BT = zero_padding(words.tokens_BT, lengths)
        orders = tokens_BT, turned(tokens_BT, lengths)

        def one(state_BSD: jax.Array, tokens_BT: jax.Array, key: jax.Array | None) -> jax.Array:
            logits_BSA = self.head(self.dropped(state_BSD, deterministic=key is None, rngs=key))
            next_BS = jnp.pad(tokens_BT, ((0, 0), (0, 1)), constant_values=END)
            nats_BS = optax.softmax_cross_entropy_with_integer_labels(logits_BSA, next_BS)
            if lengths is None:
                return nats_BS
            steps_B = jnp.where(lengths > 0, lengths + 1, 0)
            return jnp.where(padding_mask(steps_B, nats_BS.shape[1]), 0, nats_BS)

        forward_BS, backward_BS = map(one, states, orders, head_keys)
        return forward_BS, backward_BS


MakeReader = Callable[[nnx.Rngs], Reader]


class Enriched(NamedTuple):
    """The input of `EnrichedInput`."""

    own: Any  # what the model's own input reads
    words_BTW: jax.Array  # what the biLM reads, see `Words.of`


class EnrichedInput(nnx.Module):
    """x = own(u) + W gamma sum_j softmax(s)_j norm(h_j), for the layers h_j of a biLM that does not learn any more.

    Section 3.2, equation 1. norm takes the mean away and divides by the standard deviation, as the section suggests,
    so that layers of any block weigh alike at the start.

    Args:
        own: the model's own input (`models.inputs`), with `config.features` features.
        reader: of the biLM; its parameters get the metadata `frozen`.
        config: of the model.
    """

    def __init__(self, own: Input, reader: Reader, config: StackConfig, *, rngs: nnx.Rngs):
        self.own, self.bilm = own, reader
        for _, node in nnx.iter_graph(reader):
            if isinstance(node, nnx.Variable):
                node.set_metadata(frozen=True)
        self.scores_J = nnx.Param(jnp.zeros((1 + len(reader.config.layers),), jnp.float32))
        self.gamma = nnx.Param(jnp.ones((), jnp.float32))
        options = {"axes": (None, "embed"), "dtype": config.dtype, "rngs": rngs}
        self.map = linear(2 * reader.config.features, config.features, small_init(config.features), **options)

    def __call__(self, inputs: Enriched, lengths: jax.Array | None = None) -> jax.Array:
        """Features [B, T, D]."""
        layers = self.bilm.layers(Words.of(inputs.words_BTW, self.bilm.numbers), lengths)
        layers_JBTD = jax.lax.stop_gradient(jnp.stack([_normalised(h_BTD) for h_BTD in layers]))
        weight_J = self.gamma[...] * jax.nn.softmax(self.scores_J[...])
        mixed_BTD = jnp.einsum("j,jbtd->btd", weight_J.astype(layers_JBTD.dtype), layers_JBTD)
        own_BTD = self.own(inputs.own, lengths)
        return own_BTD + self.map(mixed_BTD).astype(own_BTD.dtype)


def with_states(own: Input, reader: MakeReader | None, config: StackConfig, *, rngs: nnx.Rngs) -> Input | EnrichedInput:
    """A model's own input together with the states of a biLM, if there is one to make."""
    return own if reader is None else EnrichedInput(own, reader(rngs), config, rngs=rngs)


def _normalised(h: jax.Array) -> jax.Array:
    centred = h - jnp.mean(h, axis=-1, keepdims=True)
    return centred * jax.lax.rsqrt(jnp.mean(jnp.square(centred), axis=-1, keepdims=True) + NORM_EPS)
