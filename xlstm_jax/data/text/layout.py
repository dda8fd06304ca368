"""Batches for next-token prediction, cut from one array of tokens."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from xlstm_jax.errors import UsageError


class Batch(NamedTuple):
    tokens_BT: np.ndarray  # int32
    targets_BT: np.ndarray  # int32, the next token
    mask_BT: np.ndarray  # bool, true where the target counts; elsewhere token and target are 0
    reset_BT: np.ndarray  # bool, true where the carry is reset


class Layout(NamedTuple):
    """The positions of a batch in an array of tokens."""

    position_BT: np.ndarray  # of the inputs; the targets are one further
    mask_BT: np.ndarray
    reset_BT: np.ndarray

    def read(self, tokens: np.ndarray) -> Batch:
        position_BT = np.where(self.mask_BT, self.position_BT, 0)
        return Batch(
            tokens_BT=np.where(self.mask_BT, tokens[position_BT], 0).astype(np.int32),
            targets_BT=np.where(self.mask_BT, tokens[position_BT + 1], 0).astype(np.int32),
            mask_BT=self.mask_BT,
            reset_BT=self.reset_BT,
        )


def spans(start_B: np.ndarray, end_B: np.ndarray, sequence_length: int, *, fresh: bool) -> Layout:
    """Row r reads positions start to end, at most T of them. `fresh` resets the carry at the first step."""
    position_BT = start_B[:, None] + np.arange(sequence_length)
    mask_BT = position_BT < end_B[:, None]
    reset_BT = np.zeros_like(mask_BT)
    reset_BT[:, 0] = fresh
    return Layout(position_BT, mask_BT, reset_BT)


def apart(layout: Layout, start_D: np.ndarray) -> Layout:
    """Keeps documents apart: each document start, [D], resets the carry and is not a target."""
    at_D1 = np.append(start_D, np.iinfo(np.int64).max)

    def starts(position_BT: np.ndarray) -> np.ndarray:
        return at_D1[np.searchsorted(at_D1, position_BT)] == position_BT

    return layout._replace(
        mask_BT=layout.mask_BT & ~starts(layout.position_BT + 1),
        reset_BT=layout.reset_BT | starts(layout.position_BT),
    )


class TokenBatches:
    """Random-access source. Item b has the given rows of batch b."""

    def __init__(self, tokens: np.ndarray, length: int, layout_of: Callable[[int], Layout], rows: slice):
        self._tokens = tokens
        self._length = length
        self._layout_of = layout_of
        self._rows = rows

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Batch:
        layout = self._layout_of(index)
        return Layout(*(array[self._rows] for array in layout)).read(self._tokens)


def check_shape(sequence_length: int, batch_size: int) -> None:
    if sequence_length < 1 or batch_size < 1:
        raise UsageError(f"sequence_length={sequence_length} and batch_size={batch_size} must both be at least 1")
