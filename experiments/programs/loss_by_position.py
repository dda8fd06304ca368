"""Loss by position in windows much longer than those of training, which shows how a model extrapolates in length."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xlstm_jax.errors import UsageError
from xlstm_jax.train.build import Parts

MULTIPLE = 16  # length of the longest windows, in training lengths


class Windows(NamedTuple):
    """Consecutive windows from the start of a split, without overlap; the rest of the split is not used."""

    count: int
    multiple: int  # window length / training length
    length: int  # number of targets in each window


class Bin(NamedTuple):
    first: int  # position of the first target, from 1: the number of tokens that the model has seen
    last: int
    nats: float  # mean over windows of each window's mean in this bin
    standard_error: float | None  # of that mean, over windows; None if there is one window


def choose_windows(targets: int, sequence_length: int) -> Windows:
    """Chooses windows of 16 times the training length, or 8, 4, 2 or 1 times if the text is too short for two of them.

    A standard error needs two windows. If even two of the training length do not fit, there is one.

    Raises:
        UsageError: not even one window fits.
    """
    multiple = MULTIPLE
    while multiple > 1 and targets // (multiple * sequence_length) < 2:
        multiple //= 2
    length = multiple * sequence_length
    if targets < length:
        raise UsageError(
            f"the split has {targets} targets, but one window of the training length needs {sequence_length}; "
            "use --split=train, or train on a longer text"
        )
    return Windows(targets // length, multiple, length)


def bin_edges(sequence_length: int, multiple: int) -> list[int]:
    """Bin edges from 0 to the window length, two per octave, including the training length and its doubles."""
    halves = range(-2 * math.ceil(math.log2(sequence_length)), 2 * int(math.log2(multiple)) + 1)
    return sorted({0, *(round(sequence_length * 2 ** (half / 2)) for half in halves)})


def loss_by_position(parts: Parts, params: Any, split: str) -> tuple[Windows, list[Bin]]:
    """Computes nats per token by position, with the state carried through each window.

    Each window starts from an empty state. It is processed in pieces of the training length, `batch_size` windows at
    once. Position p is the p-th target of a window: the model has seen p tokens of it.

    Raises:
        UsageError: the split is unknown, or too short for a window.
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
        chosen = np.minimum(np.arange(first, first + rows), windows.count - 1)  # repeat the last one to fill the batch
        for start in range(0, windows.length, piece):
            here = np.s_[chosen, start : start + piece]
            nats_BT, carry = score(params, inputs_WT[here], targets_WT[here], carry)
            nats.append(np.asarray(nats_BT, np.float64))
        here = np.concatenate(nats, axis=1)[: windows.count - first]
        sums = np.add.reduceat(here, edges[:-1], axis=1)
        means_WP[first : first + len(here)] = sums / np.diff(edges)
    return windows, _bins(means_WP, edges)


def _score(parts: Parts):
    """Returns a jitted function for the nats [B, T] of a piece and the carry after it."""

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
