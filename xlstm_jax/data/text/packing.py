"""Several documents per row. Each starts from an empty state; nothing is predicted across document boundaries."""

import functools

import numpy as np

from xlstm_jax.data.batches import ALL_ROWS, ENDLESS, checked_seed, generator
from xlstm_jax.data.text.layout import Layout, TokenBatches, check_shape
from xlstm_jax.errors import UsageError


class Packing:
    """Documents packed into rows of at most T inputs.

    A document of n tokens has n - 1 targets. If it has more than T, it is cut into pieces of T (the last may be
    shorter), each starting from an empty state. The longest piece is placed first, in the fullest row that has room
    (best-fit decreasing; for language models: Ding et al. 2024, "Fewer Truncations Improve Language Modeling").
    Documents without a target are left out.

    Args:
        start_D: positions of the documents' first tokens, ascending, the first 0.
        token_count: N, where the last document ends.
        sequence_length: T.
        seed: decides which documents of equal length share a row, and the order of rows in `shuffled`.
    """

    def __init__(self, start_D: np.ndarray, token_count: int, sequence_length: int, seed: int = 0):
        self.sequence_length, self._seed = sequence_length, checked_seed(seed)
        start_P, length_P = _pieces(start_D, token_count, sequence_length)
        if not len(start_P):
            raise UsageError("no document has 2 tokens, so there is nothing to predict; give longer documents")
        order_P = generator(seed, 0).permutation(len(start_P))
        order_P = order_P[np.argsort(-length_P[order_P], kind="stable")]
        row_P = _best_fit(length_P[order_P], sequence_length)
        by_row_P = np.argsort(row_P, kind="stable")
        self._start_P, self._length_P = start_P[order_P][by_row_P], length_P[order_P][by_row_P]
        self._first_R1 = np.searchsorted(row_P[by_row_P], np.arange(row_P.max() + 2))
        # One entry per epoch. A batch spans at most two epochs, unless the batch size exceeds the number of rows.
        self._order = functools.lru_cache(maxsize=4)(lambda epoch: generator(seed, epoch + 1).permutation(len(self)))

    def __len__(self) -> int:
        """Number of rows, R."""
        return len(self._first_R1) - 1

    def rows(self, row_B: np.ndarray) -> Layout:
        """The given rows; a number outside 0 to R - 1 gives an empty row."""
        shape = (len(row_B), self.sequence_length)
        layout = Layout(np.zeros(shape, np.int64), np.zeros(shape, bool), np.zeros(shape, bool))
        for b, row in enumerate(row_B):
            if not 0 <= row < len(self):
                continue
            pieces = slice(self._first_R1[row], self._first_R1[row + 1])
            start_P, length_P = self._start_P[pieces], self._length_P[pieces]
            end_P = np.cumsum(length_P)
            used = end_P[-1]
            layout.position_BT[b, :used] = np.repeat(start_P - (end_P - length_P), length_P) + np.arange(used)
            layout.mask_BT[b, :used] = True
            layout.reset_BT[b, end_P - length_P] = True
        return layout

    def shuffled(self, rank_B: np.ndarray) -> Layout:
        """Rows by rank in an endless order. Each block of R ranks has all rows once, in a new random order."""
        epoch_B, index_B = np.divmod(rank_B, len(self))
        row_B = np.empty_like(index_B)
        for epoch in np.unique(epoch_B):
            row_B[epoch_B == epoch] = self._order(int(epoch))[index_B[epoch_B == epoch]]
        return self.rows(row_B)


def packed_train_batches(
    tokens: np.ndarray,
    start_D: np.ndarray,
    *,
    sequence_length: int,
    batch_size: int,
    seed: int,
    rows: slice = ALL_ROWS,
) -> TokenBatches:
    """Endless batches of packed rows: every document once per epoch, with no gap between epochs.

    Arguments as in `train_batches` and `Packing`.
    """
    check_shape(sequence_length, batch_size)
    packing = Packing(start_D, len(tokens), sequence_length, seed)

    def layout_of(index: int) -> Layout:
        return packing.shuffled(index * batch_size + np.arange(batch_size))

    return TokenBatches(tokens, ENDLESS, layout_of, rows)


def packed_validation_batches(
    tokens: np.ndarray,
    start_D: np.ndarray,
    *,
    sequence_length: int,
    batch_size: int,
    rows: slice = ALL_ROWS,
) -> TokenBatches:
    """Batches of packed rows; every token is a target exactly once, except the first token of each document."""
    check_shape(sequence_length, batch_size)
    packing = Packing(start_D, len(tokens), sequence_length)

    def layout_of(index: int) -> Layout:
        return packing.rows(index * batch_size + np.arange(batch_size))

    return TokenBatches(tokens, -(-len(packing) // batch_size), layout_of, rows)


def _pieces(start_D: np.ndarray, token_count: int, sequence_length: int) -> tuple[np.ndarray, np.ndarray]:
    """The first input and the number of inputs of each piece, both [P]."""
    targets_D = np.diff(start_D, append=token_count) - 1
    pieces_D = np.maximum(-(-targets_D // sequence_length), 0)
    document_P = np.repeat(np.arange(len(start_D)), pieces_D)
    number_P = np.arange(len(document_P)) - np.repeat(np.cumsum(pieces_D) - pieces_D, pieces_D)
    done_P = number_P * sequence_length
    return start_D[document_P] + done_P, np.minimum(targets_D[document_P] - done_P, sequence_length)


def _best_fit(length_P: np.ndarray, sequence_length: int) -> np.ndarray:
    """The row of each piece, [P]; pieces are placed in the given order."""
    rows_with_room = [[] for _ in range(sequence_length + 1)]  # by the room left
    rooms = 0  # bit n is set if a row with room n exists; the lowest set bit >= the piece's length is the best fit
    row_P, rows = np.empty(len(length_P), np.int64), 0
    for piece, length in enumerate(length_P.tolist()):
        fitting = rooms >> length
        if fitting:
            room = length + (fitting & -fitting).bit_length() - 1
            row = rows_with_room[room].pop()
            if not rows_with_room[room]:
                rooms ^= 1 << room
        else:
            room, row, rows = sequence_length, rows, rows + 1
        row_P[piece] = row
        if room > length:
            rows_with_room[room - length].append(row)
            rooms |= 1 << (room - length)
    return row_P
