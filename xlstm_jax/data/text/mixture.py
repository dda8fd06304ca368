"""Batches with rows from several sources, each with its own probability."""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.batches import ALL_ROWS, ENDLESS, checked_seed, generator
from xlstm_jax.data.text.layout import Batch, Layout, TokenBatches, check_shape
from xlstm_jax.data.text.windows import window_layouts

BATCHES_A_BLOCK = 1024  # batches drawn at once


class MixedBatch(NamedTuple):
    """A `Batch` with the source of each row."""

    tokens_BT: np.ndarray
    targets_BT: np.ndarray
    mask_BT: np.ndarray
    reset_BT: np.ndarray
    source_B: np.ndarray  # int32, index of each row's source


class Draws:
    """The source of each row of batch b and the row's rank among all rows of that source, as functions of seed and b.

    Rows are drawn independently with probabilities `weight_S`, in blocks of batches: counting the rows before a late
    batch is fast.
    """

    def __init__(self, weight_S: np.ndarray, batch_size: int, seed: int):
        self._weight_S, self._shape, self._seed = weight_S, (BATCHES_A_BLOCK, batch_size), checked_seed(seed)
        self._before = [np.zeros(len(weight_S), np.int64)]  # rows of each source before each block
        self._block = functools.lru_cache(maxsize=2)(self._draw)

    def _draw(self, block: int) -> np.ndarray:
        return generator(self._seed, block).choice(len(self._weight_S), self._shape, p=self._weight_S).astype(np.int32)

    def _count(self, drawn: np.ndarray) -> np.ndarray:
        return np.bincount(drawn.ravel(), minlength=len(self._weight_S))

    def __call__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Returns source [B] and rank [B]: the row is number `rank`, from 0, of its source."""
        block, offset = divmod(index, BATCHES_A_BLOCK)
        while len(self._before) <= block:
            self._before.append(self._before[-1] + self._count(self._block(len(self._before) - 1)))
        drawn = self._block(block)
        source_B = drawn[offset]
        rank_B = np.empty(len(source_B), np.int64)
        before_S = self._before[block] + self._count(drawn[:offset])
        for source in range(len(before_S)):
            rows = source_B == source
            rank_B[rows] = before_S[source] + np.arange(rows.sum())
        return source_B, rank_B


def spawned(seed: int, number: int) -> int:
    """A separate seed for source `number` of a mixture."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0] >> np.uint64(1))


def window_rows(token_count: int, sequence_length: int, seed: int) -> Callable[[int, np.ndarray], Layout]:
    """Random windows of one source, for `layouts_S` of `MixedTrainBatches`."""

    window_layouts(token_count, sequence_length, 1, seed)  # raises now if the text is too short

    def rows(index: int, rank_B: np.ndarray) -> Layout:
        return window_layouts(token_count, sequence_length, len(rank_B), seed)(index)

    return rows


class MixedTrainBatches:
    """Endless random-access source of batches with rows drawn from several sources.

    Args:
        tokens_S: the tokens of each source.
        layouts_S: for each source, (batch index, ranks [n]) -> the layout of its n rows of that batch.
        weight_S: probabilities, summing to 1.
        sequence_length, batch_size, seed, rows: as in `train_batches`.
    """

    def __init__(
        self,
        tokens_S: Sequence[np.ndarray],
        layouts_S: Sequence[Callable[[int, np.ndarray], Layout]],
        weight_S: np.ndarray,
        *,
        sequence_length: int,
        batch_size: int,
        seed: int,
        rows: slice = ALL_ROWS,
    ):
        check_shape(sequence_length, batch_size)
        self._rows = rows
        self._tokens_S, self._layouts_S = tokens_S, layouts_S
        self._shape = (batch_size, sequence_length)
        self._draws = Draws(weight_S, batch_size, seed)

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> MixedBatch:
        source_B, rank_B = self._draws(index)
        whole = Batch(*(np.empty(self._shape, dtype) for dtype in (np.int32, np.int32, bool, bool)))
        for source, (tokens, layout) in enumerate(zip(self._tokens_S, self._layouts_S, strict=True)):
            rows = source_B == source
            if rows.any():
                for array, part in zip(whole, layout(index, rank_B[rows]).read(tokens), strict=True):
                    array[rows] = part
        return MixedBatch(*(array[self._rows] for array in (*whole, source_B)))


class MixedValidationBatches:
    """All batches of the first source, then all of the second, and so on."""

    def __init__(self, batches_S: Sequence[TokenBatches]):
        self._batches_S = batches_S
        self._end_S = np.cumsum([len(batches) for batches in batches_S])

    def __len__(self) -> int:
        return int(self._end_S[-1])

    def __getitem__(self, index: int) -> MixedBatch:
        source = int(np.searchsorted(self._end_S, index, side="right"))
        first = self._end_S[source] - len(self._batches_S[source])
        batch = self._batches_S[source][int(index - first)]
        return MixedBatch(*batch, source_B=np.full(len(batch.mask_BT), source, np.int32))
