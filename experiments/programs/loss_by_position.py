"""Loss by position in windows far longer than those of training: how a model extrapolates in length."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xlstm_jax.errors import UsageError
from xlstm_jax.train.build import Parts

MULTIPLE = 16  # of the training length, the longest window


class Windows(NamedTuple):
    """Consecutive windows from the start of a split that do not overlap; what is left after the last is not used."""

    count: int
    multiple: int  # their length over that of training
    length: int  # targets of each


class Bin(NamedTuple):
    first: int  # position of the first target, counted from 1: the tokens that the model has seen
    last: int
    nats: float  # mean over windows of each window's mean in this bin
    standard_error: float | None  # of that mean, over windows; None where there is one window


def choose_windows(targets: int, sequence_length: int) -> Windows:
    """Windows of 16 times the training length, or 8, 4, 2, 1 times where a text has not two of the longer ones.

    Two are the fewest that have a standard error; one of the training length is taken where there is no more.

    Raises:
        UsageError: there is not even one window.
    """
    multiple = MULTIPLE
    while multiple > 1 and targets // (multiple * sequence_length) < 2:
        multiple //= 2
    length = multiple * sequence_length
    if targets < length:
        raise UsageError(
            f"the split has {targets} targets, and one window of the training length needs {sequence_length}; "
            "take --split=train, or train on a longer text"
        )
    return Windows(targets // length, multiple, length)


def bin_edges(sequence_length: int, multiple: int) -> list[int]:
    """0, 1, ... to the window's length: two bins an octave, the training length and its doubles among the edges."""
    halves = range(-2 * math.ceil(math.log2(sequence_length)), 2 * int(math.log2(multiple)) + 1)
    return sorted({0, *(round(sequence_length * 2 ** (half / 2)) for half in halves)})


def loss_by_position(parts: Parts, params: Any, split: str) -> tuple[Windows, list[Bin]]:
    """Nats a token by position, the state carried from the window's first token to its last.

    Every window starts from an empty state and is read in pieces of the training length, as many windows at once as a
    batch has rows. Position p is the p-th target of a window: the model has seen p tokens of it.

    Raises:
        UsageError: an unknown split, or one too short for a window.
    """
    splits = parts.task.splits
    if split not in splits:
        raise UsageError(f"split {split!r} is unknown; allowed: {', '.join(splits)}")
    tokens, piece, rows = splits[split], parts.task.config.sequence_length, parts.task.config.batch_size
    windows = choose_windows(len(tokens) - 1, piece)
    used = windows.count * windows.length
    inputs_WT, targets_WT = (
        np.asarray(tokens[shift : shift + used]).astype(np.int32).reshape(windows.count, windows.length)
        for shift in (0, 1)
    )
    edges = bin_edges(piece, windows.multiple)
    score = _score(parts)
    means_WP = np.zeros((windows.count, len(edges) - 1))
    for first in range(0, windows.count, rows):
        carry, nats = parts.model(params).init_carry(rows), []
        chosen = np.minimum(np.arange(first, first + rows), windows.count - 1)  # the last one again fills the batch
        for start in range(0, windows.length, piece):
            here = np.s_[chosen, start : start + piece]
            nats_BT, carry = score(params, inputs_WT[here], targets_WT[here], carry)
            nats.append(np.asarray(nats_BT, np.float64))
        here = np.concatenate(nats, axis=1)[: windows.count - first]
        sums = np.add.reduceat(here, edges[:-1], axis=1)
        means_WP[first : first + len(here)] = sums / np.diff(edges)
    return windows, _bins(means_WP, edges)


def _score(parts: Parts):
    """Jitted: nats [B, T] of a piece, and the carry after it."""

    def score(params, inputs_BT, targets_BT, carry):
        logits_BTA, carry = parts.model(params).unroll(inputs_BT, carry)
        return optax.softmax_cross_entropy_with_integer_labels(logits_BTA, jnp.asarray(targets_BT)), carry

    return jax.jit(score)


def _bins(means_WP: np.ndarray, edges: list[int]) -> list[Bin]:
    count = len(means_WP)
    errors = np.std(means_WP, axis=0, ddof=1) / math.sqrt(count) if count > 1 else [None] * (len(edges) - 1)
    return [
        Bin(before + 1, last, float(mean), None if error is None else float(error))
        for before, last, mean, error in zip(edges[:-1], edges[1:], means_WP.mean(axis=0), errors, strict=True)
    ]
