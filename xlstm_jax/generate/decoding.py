"""Prefill of prompts in pieces, then decoding token by token, with the recurrent state that training uses."""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.checks import check_sizes, checked
from xlstm_jax.errors import UsageError
from xlstm_jax.generate.decoder import Decoder, Reader
from xlstm_jax.generate.options import check_options, check_tokens
from xlstm_jax.generate.sampling import pick
from xlstm_jax.generate.state import GenerationState, committed, init_state, state_of, still_done
from xlstm_jax.models.inputs import known_tokens

PREFILL_CHUNK = 512  # tokens of a prompt read at once


class Decoded(NamedTuple):
    """The result of `decode`."""

    tokens_BT: jax.Array  # int32; padding after a row's stop token
    lengths_B: jax.Array  # int32, number of tokens per row, including the stop token
    state: GenerationState


def prefill(
    model: Reader,
    prompt_BT: jax.Array | np.ndarray,
    *,
    lengths: jax.Array | np.ndarray | Sequence[int] | None = None,
    state: GenerationState | None = None,
    seed: int = 0,
    prefill_chunk: int = PREFILL_CHUNK,
) -> GenerationState:
    """Reads prompts; returns the state after them, with each row's logits at its own last token.

    Prompts are read in pieces of `prefill_chunk` tokens, the last one padded to a power of two. Memory does not grow
    with the prompt, and a few compiled programs serve every length.

    Args:
        prompt_BT: ints below the vocabulary size.
        lengths: [B] ints, for right padding; None: all rows have T tokens. 0 is allowed only with a `state`.
        state: continues this state; None starts from an empty state. A stopped row continues if it gets tokens.
        seed: of the draws, if no state is given.
        prefill_chunk: maximum number of tokens per piece.

    Raises:
        UsageError: the prompt is empty, the lengths do not fit, or `prefill_chunk` is below 1.
    """
    prompt_BT, lengths_B = checked("prefill", tokens_BT=prompt_BT, lengths_B=lengths)
    prompt_BT = np.asarray(prompt_BT)
    batch, time = prompt_BT.shape
    lengths_B = np.full(batch, time) if lengths_B is None else np.asarray(lengths_B)
    if (lengths_B < 0).any() or (lengths_B > time).any():
        raise UsageError(f"lengths {lengths_B.tolist()} do not fit prompts [{batch}, {time}]; must be 0 to {time}")
    if state is None and (lengths_B < 1).any():
        raise UsageError("the prompt is empty; give at least one token")
    if state is not None and state.done_B.shape != (batch,):
        raise UsageError(f"{batch} prompts do not fit a state of {state.done_B.shape[0]} rows; give one per row")
    check_sizes("prefill", prefill_chunk=prefill_chunk)
    known_tokens(prompt_BT, model.vocab_size, lengths_B)
    state = init_state(model, batch, seed) if state is None else state
    graphdef, weights = nnx.split(model)
    state = committed(state, weights)
    carry, logits_BA = state.carry, state.logits_BA
    for start in range(0, time, prefill_chunk):
        piece_BL = prompt_BT[:, start : start + prefill_chunk]
        size = _padded(piece_BL.shape[1], prefill_chunk)
        piece_BL = np.pad(piece_BL, [(0, 0), (0, size - piece_BL.shape[1])]).astype(np.int32)
        here_B = np.clip(lengths_B - start, 0, size).astype(np.int32)
        carry, logits_BA = _read(graphdef, weights, piece_BL, here_B, carry, logits_BA)
    return state._replace(carry=carry, logits_BA=logits_BA, done_B=still_done(state.done_B, lengths_B == 0))


def decode(
    model: Decoder,
    state: GenerationState,
    *,
    length: int,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    stop: Sequence[int] = (),
    padding: int = 0,
    room: int | None = None,
) -> Decoded:
    """Generates up to `length` tokens per row in one compiled loop, which feeds each token back with the carry.

    The cost per token does not depend on the number of tokens before it. Several calls give the same tokens as one
    call. One program serves all temperatures, top_k, top_p, paddings, and sets of stop tokens of similar size.

    Args:
        length: maximum number of tokens; may be 0.
        temperature: 0 is greedy.
        top_k, top_p: see `restrict`.
        stop: tokens that end a row. After one, the row has `padding` and its carry is kept. The loop ends when all rows
            have stopped. If empty, rows that had stopped continue.
        padding: the token after a row's end.
        room: one program serves all lengths up to it; None: `length`.

    Raises:
        UsageError: an option is outside its range.
    """
    vocabulary = state.logits_BA.shape[-1]
    check_options(length=length, temperature=temperature, top_k=top_k, top_p=top_p, least=0)
    check_tokens((*stop, padding), vocabulary)
    graphdef, weights = nnx.split(model)
    # A top_k above the vocabulary size keeps all tokens too, but may not fit into an int32.
    options = np.float32(temperature), np.int32(min(top_k, vocabulary)), np.float32(top_p), np.int32(padding)
    # Padded with -1, which is not a token, to a power of two: few sizes, few programs.
    stop_S = np.full(1 << (len(stop) - 1).bit_length() if stop else 0, -1, np.int32)
    stop_S[: len(stop)] = stop
    room = max(length, room or 0, 1)
    state = committed(state, weights)
    tokens_BN, lengths_B, state = _loop(graphdef, room, options, stop_S, weights, state, np.int32(length))
    # Cut on the host; on the device, each length would need its own program.
    tokens_BT = tokens_BN if length == room else jnp.asarray(np.asarray(tokens_BN)[:, :length])
    return Decoded(tokens_BT, lengths_B, state)


def generate(
    model: Decoder,
    prompt_BT: jax.Array | np.ndarray,
    *,
    length: int,
    lengths: jax.Array | np.ndarray | Sequence[int] | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    stop: Sequence[int] = (),
    padding: int = 0,
    seed: int = 0,
    prefill_chunk: int = PREFILL_CHUNK,
) -> jax.Array:
    """Returns `length` tokens after each prompt, [B, length]: `prefill`, then `decode`, which also returns the lengths.

    Args:
        prompt_BT: ints, at least one token per row; `lengths` [B] if rows end before T. For a decoder that is not a
            `Reader`: the input of its `start`, with `lengths`.
        length: number of tokens to add, at least 1.
        seed: of the draws; the same seed gives the same text.
        temperature, top_k, top_p, stop, padding: see `decode`.
        prefill_chunk: see `prefill`.

    Raises:
        UsageError: the prompt is empty, or an option is outside its range.
    """
    check_options(length=length, temperature=temperature, top_k=top_k, top_p=top_p, seed=seed)
    if isinstance(model, Reader):
        state = prefill(model, prompt_BT, lengths=lengths, seed=seed, prefill_chunk=prefill_chunk)
    else:
        if lengths is None:
            raise UsageError("lengths are missing; a model whose prompt is not tokens of its own vocabulary needs them")
        state = state_of(*_start(*nnx.split(model), prompt_BT, jnp.asarray(lengths, jnp.int32)), seed)
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "stop": stop, "padding": padding}
    return decode(model, state, length=length, **options).tokens_BT


def piece_sizes(time: int, prefill_chunk: int) -> list[int]:
    """Prompt lengths that, read with `prefill`, compile all programs that a prompt of `time` tokens needs."""
    return [size for size in (min(time, prefill_chunk), time % max(prefill_chunk, 1)) if size]


def _padded(size: int, prefill_chunk: int) -> int:
    """The padded size of a piece: a power of two, at most the whole chunk."""
    return min(prefill_chunk, 1 << (size - 1).bit_length())


@functools.partial(jax.jit, static_argnums=0)
def _read(graphdef, weights, piece_BL, lengths_B, carry, logits_BA):
    return nnx.merge(graphdef, weights).read(piece_BL, lengths_B, carry, logits_BA)


@functools.partial(jax.jit, static_argnums=0)
def _start(graphdef, weights, prompt, lengths_B):
    return nnx.merge(graphdef, weights).start(prompt, lengths_B)


@functools.partial(jax.jit, static_argnums=(0, 1))
def _loop(graphdef, room, options, stop_S, weights, state, limit):
    """Returns tokens [B, room], the number of tokens per row [B] and the new state; at most `limit` tokens."""
    model = nnx.merge(graphdef, weights)
    temperature, top_k, top_p, padding = options
    batch, stops = state.logits_BA.shape[0], len(stop_S) > 0

    def unfinished(loop):
        index, _, _, state = loop
        return (index < limit) & ~jnp.all(state.done_B)

    def body(loop):
        index, tokens_BN, lengths_B, (carry, logits_BA, key, step, done_B) = loop
        draw = jax.random.fold_in(key, step)
        token_B = pick(draw, logits_BA, temperature=temperature, top_k=top_k, top_p=top_p)
        token_B = jnp.where(done_B, padding, token_B)
        live_B = (~done_B).astype(jnp.int32)
        next_BA, carry = model.step(token_B, carry, live_B if stops else None)
        # A stopped row keeps its logits and its carry: both are from after its last token.
        logits_BA = jnp.where(done_B[:, None], logits_BA, next_BA)
        tokens_BN = jax.lax.dynamic_update_slice_in_dim(tokens_BN, token_B[:, None], index, axis=1)
        done_B = done_B | jnp.any(token_B[:, None] == stop_S[None, :], axis=1)
        return index + 1, tokens_BN, lengths_B + live_B, GenerationState(carry, logits_BA, key, step + 1, done_B)

    if not stops:
        state = state._replace(done_B=jnp.zeros_like(state.done_B))
    start = jnp.int32(0), jnp.full((batch, room), padding, jnp.int32), jnp.zeros((batch,), jnp.int32), state
    _, tokens_BN, lengths_B, state = jax.lax.while_loop(unfinished, body, start)
    return tokens_BN, lengths_B, state
