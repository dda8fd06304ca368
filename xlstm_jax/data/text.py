"""Batches for next-token prediction, cut from one array of tokens.

Batch b of a pipeline is a pure function of (tokens, settings, b): an iterator's whole state is its index, resuming is
exact, and every process takes its rows of the same global batch, however many processes there are.
"""

from collections.abc import Callable
from typing import NamedTuple

import grain
import numpy as np

from xlstm_jax.errors import UsageError
from xlstm_jax.registry import Registry

# Training has no end of its own; at a thousand steps a second this lasts 24 days.
ENDLESS = 2**31 - 1


class Batch(NamedTuple):
    tokens_BT: np.ndarray  # int32
    targets_BT: np.ndarray  # int32, the token after each of tokens_BT
    mask_BT: np.ndarray  # bool, true where the target counts; elsewhere token and target are 0
    reset_BT: np.ndarray  # bool, true where a row starts afresh and the carry must not pass


class Rows(NamedTuple):
    """Where one batch lies: row r reads inputs `tokens[start_B[r] : end_B[r]]`, at most T of them."""

    start_B: np.ndarray
    end_B: np.ndarray
    fresh: bool  # whether step 0 of every row resets the carry


class TokenBatches:
    """Random-access source whose item b is this process's part of batch b, read in one indexing operation."""

    def __init__(
        self, tokens: np.ndarray, sequence_length: int, length: int, rows_of: Callable[[int], Rows], part: slice
    ):
        self._tokens = tokens
        self._steps_T1 = np.arange(sequence_length + 1)  # the last input's target is one step on
        self._length = length
        self._rows_of = rows_of
        self._part = part

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Batch:
        rows = self._rows_of(index)
        position_BT1 = rows.start_B[self._part, None] + self._steps_T1
        mask_BT = position_BT1[:, :-1] < rows.end_B[self._part, None]
        window_BT1 = self._tokens[np.minimum(position_BT1, len(self._tokens) - 1)].astype(np.int32)
        reset_BT = np.zeros_like(mask_BT)
        reset_BT[:, 0] = rows.fresh
        return Batch(
            tokens_BT=np.where(mask_BT, window_BT1[:, :-1], 0),
            targets_BT=np.where(mask_BT, window_BT1[:, 1:], 0),
            mask_BT=mask_BT,
            reset_BT=reset_BT,
        )


SAMPLINGS: Registry[Callable[[int, int, int, int], Callable[[int], Rows]]] = Registry("sampling")


@SAMPLINGS.register("windows")
def _windows(token_count: int, sequence_length: int, batch_size: int, seed: int) -> Callable[[int], Rows]:
    """Windows at uniformly random offsets, each on its own."""

    def rows_of(index: int) -> Rows:
        random = np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)))
        start_B = random.integers(0, token_count - sequence_length, batch_size)
        return Rows(start_B, start_B + sequence_length, fresh=True)

    return rows_of


@SAMPLINGS.register("stream")
def _stream(token_count: int, sequence_length: int, batch_size: int, seed: int) -> Callable[[int], Rows]:
    """Row r reads the r-th contiguous part of the tokens from its start to its end, again and again.

    The carry passes from batch to batch; what a part holds behind its last whole sequence is left out.
    """
    del seed  # the order is fixed
    part_length = (token_count - 1) // batch_size
    batches_per_pass = part_length // sequence_length
    if batches_per_pass == 0:
        raise UsageError(
            f"stream sampling of {batch_size} rows of {sequence_length} steps needs at least "
            f"{batch_size * sequence_length + 1} training tokens, and there are {token_count}; "
            "use a longer text, or a smaller batch size or sequence length, or sampling 'windows'"
        )
    part_B = np.arange(batch_size) * part_length

    def rows_of(index: int) -> Rows:
        step = index % batches_per_pass
        start_B = part_B + step * sequence_length
        return Rows(start_B, start_B + sequence_length, fresh=step == 0)

    return rows_of


def split_tokens(tokens: np.ndarray, train_fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """(train, validation) parts of [N] tokens, as views.

    Validation begins one token before the split: it is the first input only, so that predicting `validation[1:]`
    covers every token of the last part exactly once.
    """
    split = int(len(tokens) * train_fraction) if 0 < train_fraction < 1 else 0
    if split == 0:
        raise UsageError(
            f"train_fraction={train_fraction} of {len(tokens)} tokens leaves no part to train on or none to validate "
            "on; give a fraction between 0 and 1, and a text long enough for it"
        )
    return tokens[:split], tokens[split - 1 :]


def train_dataset(
    tokens: np.ndarray,
    *,
    sampling: str,
    sequence_length: int,
    batch_size: int,
    seed: int,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.IterDataset:
    """Endless batches of training sequences.

    Args:
        tokens: [N] integers.
        sampling: "windows" (uniformly random offsets, every row starts afresh) or "stream" (each row reads its own
            contiguous part of the tokens, and the carry passes from batch to batch).
        sequence_length: T.
        batch_size: rows of the global batch, over all processes.
        seed: of the random offsets, at least 0.
        process_index, process_count: this process gets rows `process_index::process_count` of each global batch.

    Returns:
        A dataset of `Batch`; its iterator's `get_state()` is a JSON-able dict, and `set_state()` resumes exactly.
    """
    part = _part(sequence_length, batch_size, process_index, process_count)
    if len(tokens) < sequence_length + 1:
        raise UsageError(
            f"sequence_length={sequence_length} needs at least {sequence_length + 1} training tokens, and there are "
            f"{len(tokens)}; use a longer text or a shorter sequence length"
        )
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed} is outside 0 to 2**63 - 1; give one inside")
    rows_of = SAMPLINGS.get(sampling)(len(tokens), sequence_length, batch_size, seed)
    return _dataset(TokenBatches(tokens, sequence_length, ENDLESS, rows_of, part))


def validation_dataset(
    tokens: np.ndarray,
    *,
    sequence_length: int,
    batch_size: int,
    carry: bool,
    process_index: int = 0,
    process_count: int = 1,
) -> grain.IterDataset:
    """Batches in which every token but the first is a target exactly once; padding has mask False.

    Args:
        tokens: [N] integers, N at least 2.
        sequence_length: T.
        batch_size: rows of the global batch, over all processes.
        carry: False cuts consecutive windows of T, each starting afresh. True lays B contiguous parts side by side
            and resets only at their first step: the carry passes from batch to batch.
        process_index, process_count: this process gets rows `process_index::process_count` of each global batch.
    """
    part = _part(sequence_length, batch_size, process_index, process_count)
    target_count = len(tokens) - 1
    if target_count < 1:
        raise UsageError(f"validation needs at least 2 tokens, and there are {len(tokens)}; lower train_fraction")
    row_B = np.arange(batch_size)
    part_length = -(-target_count // batch_size)

    def windows(index: int) -> Rows:
        start_B = (index * batch_size + row_B) * sequence_length
        return Rows(start_B, np.minimum(start_B + sequence_length, target_count), fresh=True)

    def stream(index: int) -> Rows:
        end_B = np.minimum((row_B + 1) * part_length, target_count)
        return Rows(row_B * part_length + index * sequence_length, end_B, fresh=index == 0)

    # Either way B x T targets a batch at most; side by side, the longest part decides.
    length = -(-part_length // sequence_length) if carry else -(-target_count // (batch_size * sequence_length))
    return _dataset(TokenBatches(tokens, sequence_length, length, stream if carry else windows, part))


def _dataset(source: TokenBatches) -> grain.IterDataset:
    # A batch is one read from memory, so that grain's reading threads would only cost time.
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    return grain.MapDataset.source(source).to_iter_dataset(options)


def _part(sequence_length: int, batch_size: int, process_index: int, process_count: int) -> slice:
    if sequence_length < 1 or batch_size < 1:
        raise UsageError(f"sequence_length={sequence_length} and batch_size={batch_size} must both be at least 1")
    if not 0 <= process_index < process_count:
        raise UsageError(f"process_index={process_index} is outside 0 to process_count - 1 = {process_count - 1}")
    if batch_size % process_count:
        raise UsageError(
            f"batch_size={batch_size} is not divisible by the {process_count} processes; "
            f"use {batch_size // process_count * process_count or process_count} or another multiple"
        )
    return slice(process_index, None, process_count)
