"""Batches from one text: at random offsets, in streams, and with each token once for validation."""

from collections.abc import Callable
from typing import Literal

import numpy as np

from xlstm_jax.config import check_value
from xlstm_jax.data.batches import ALL_ROWS, ENDLESS, checked_seed, generator
from xlstm_jax.data.text.layout import Layout, TokenBatches, apart, check_shape, spans
from xlstm_jax.errors import UsageError


def window_layouts(token_count: int, sequence_length: int, batch_size: int, seed: int) -> Callable[[int], Layout]:
    """Independent windows at uniformly random offsets."""
    _check_length(token_count, sequence_length)

    def layout_of(index: int) -> Layout:
        random = generator(seed, index)
        start_B = random.integers(0, token_count - sequence_length, batch_size)
        return spans(start_B, start_B + sequence_length, sequence_length, fresh=True)

    return layout_of


def _stream_layouts(token_count: int, sequence_length: int, batch_size: int, seed: int) -> Callable[[int], Layout]:
    """Row r reads the r-th contiguous part of the tokens from start to end, over and over.

    The carry passes from batch to batch. Tokens after a part's last whole sequence are not used.
    """
    del seed  # the order is fixed
    _check_length(token_count, sequence_length)
    part_length = (token_count - 1) // batch_size
    batches_per_pass = part_length // sequence_length
    if batches_per_pass == 0:
        raise UsageError(
            f"stream sampling of {batch_size} rows of {sequence_length} steps needs at least "
            f"{batch_size * sequence_length + 1} training tokens, but there are {token_count}; "
            "use a longer text, a smaller batch size or sequence length, or sampling 'windows'"
        )
    part_B = np.arange(batch_size) * part_length

    def layout_of(index: int) -> Layout:
        step = index % batches_per_pass
        start_B = part_B + step * sequence_length
        return spans(start_B, start_B + sequence_length, sequence_length, fresh=step == 0)

    return layout_of


def train_batches(
    tokens: np.ndarray,
    *,
    sampling: str,
    sequence_length: int,
    batch_size: int,
    seed: int,
    rows: slice = ALL_ROWS,
) -> TokenBatches:
    """Endless batches of training sequences.

    Args:
        tokens: [N] integers.
        sampling: "windows" (uniformly random offsets; every row resets the carry) or "stream" (each row reads its own
            contiguous part of the tokens, and the carry passes from batch to batch).
        sequence_length: T.
        batch_size: rows of the global batch, over all processes.
        seed: of the random offsets, at least 0.
        rows: the rows of each global batch that this process reads.
    """
    check_shape(sequence_length, batch_size)
    check_value(Literal["windows", "stream"], sampling, "sampling")
    layouts = window_layouts if sampling == "windows" else _stream_layouts
    layout_of = layouts(len(tokens), sequence_length, batch_size, checked_seed(seed))
    return TokenBatches(tokens, ENDLESS, layout_of, rows)


def validation_batches(
    tokens: np.ndarray,
    *,
    sequence_length: int,
    batch_size: int,
    carry: bool,
    start_D: np.ndarray | None = None,
    rows: slice = ALL_ROWS,
) -> TokenBatches:
    """Batches in which every token except the first is a target exactly once. Padding has mask False.

    Args:
        tokens: [N] integers, N at least 2.
        sequence_length: T.
        batch_size: rows of the global batch, over all processes.
        carry: False cuts consecutive windows of T, each of which resets the carry. True reads one of B contiguous parts
            per row; the carry passes from batch to batch and is reset only at a part's first step.
        start_D: starts of documents, the first 0. Documents are kept apart, and their first tokens are not targets.
            None: the tokens are one document.
        rows: the rows of each global batch that this process reads.
    """
    check_shape(sequence_length, batch_size)
    target_count = len(tokens) - 1
    if target_count < 1:
        raise UsageError(f"validation needs at least 2 tokens, but there are {len(tokens)}; lower train_fraction")
    row_B = np.arange(batch_size)
    part_length = -(-target_count // batch_size)

    def windows(index: int) -> Layout:
        start_B = (index * batch_size + row_B) * sequence_length
        end_B = np.minimum(start_B + sequence_length, target_count)
        return spans(start_B, end_B, sequence_length, fresh=True)

    def stream(index: int) -> Layout:
        end_B = np.minimum((row_B + 1) * part_length, target_count)
        return spans(row_B * part_length + index * sequence_length, end_B, sequence_length, fresh=index == 0)

    # Each batch has at most B x T targets. With `carry`, the longest part sets the number of batches.
    length = -(-part_length // sequence_length) if carry else -(-target_count // (batch_size * sequence_length))
    layout_of = stream if carry else windows
    if start_D is not None:
        return TokenBatches(tokens, length, lambda index: apart(layout_of(index), start_D), rows)
    return TokenBatches(tokens, length, layout_of, rows)


def _check_length(token_count: int, sequence_length: int) -> None:
    if token_count < sequence_length + 1:
        raise UsageError(
            f"sequence_length={sequence_length} needs at least {sequence_length + 1} training tokens, but there are "
            f"{token_count}; use a longer text or a shorter sequence length"
        )
