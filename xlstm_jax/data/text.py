"""Batches for next-token prediction, cut from one array of tokens.

Batch b of a pipeline is a pure function of (tokens, settings, b): an iterator's whole state is its index, resuming is
exact, and every process takes its rows of the same global batch, however many processes there are.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

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


class Layout(NamedTuple):
    """Where one batch lies in an array of tokens."""

    position_BT: np.ndarray  # of the inputs; each one's target is one on
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
    """Row r reads positions start to end, at most T of them; `fresh`: it resets the carry at its first step."""
    position_BT = start_B[:, None] + np.arange(sequence_length)
    mask_BT = position_BT < end_B[:, None]
    reset_BT = np.zeros_like(mask_BT)
    reset_BT[:, 0] = fresh
    return Layout(position_BT, mask_BT, reset_BT)


def apart(layout: Layout, start_D: np.ndarray) -> Layout:
    """The layout with documents kept apart: each start [D] resets the carry and is no target."""
    at_D1 = np.append(start_D, np.iinfo(np.int64).max)

    def starts(position_BT: np.ndarray) -> np.ndarray:
        return at_D1[np.searchsorted(at_D1, position_BT)] == position_BT

    return layout._replace(
        mask_BT=layout.mask_BT & ~starts(layout.position_BT + 1),
        reset_BT=layout.reset_BT | starts(layout.position_BT),
    )


class TokenBatches:
    """Random-access source whose item b is this process's part of batch b."""

    def __init__(self, tokens: np.ndarray, length: int, layout_of: Callable[[int], Layout], part: slice):
        self._tokens = tokens
        self._length = length
        self._layout_of = layout_of
        self._part = part

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> Batch:
        layout = self._layout_of(index)
        return Layout(*(array[self._part] for array in layout)).read(self._tokens)


def generator(seed: int, index: int) -> np.random.Generator:
    """Random numbers that are a function of both."""
    return np.random.Generator(np.random.Philox(key=np.array([seed, index], np.uint64)))


SAMPLINGS: Registry[Callable[[int, int, int, int], Callable[[int], Layout]]] = Registry("sampling")


@SAMPLINGS.register("windows")
def window_layouts(token_count: int, sequence_length: int, batch_size: int, seed: int) -> Callable[[int], Layout]:
    """Windows at uniformly random offsets, each on its own."""
    _check_length(token_count, sequence_length)

    def layout_of(index: int) -> Layout:
        random = generator(seed, index)
        start_B = random.integers(0, token_count - sequence_length, batch_size)
        return spans(start_B, start_B + sequence_length, sequence_length, fresh=True)

    return layout_of


@SAMPLINGS.register("stream")
def _stream(token_count: int, sequence_length: int, batch_size: int, seed: int) -> Callable[[int], Layout]:
    """Row r reads the r-th contiguous part of the tokens from its start to its end, again and again.

    The carry passes from batch to batch; what a part holds behind its last whole sequence is left out.
    """
    del seed  # the order is fixed
    _check_length(token_count, sequence_length)
    part_length = (token_count - 1) // batch_size
    batches_per_pass = part_length // sequence_length
    if batches_per_pass == 0:
        raise UsageError(
            f"stream sampling of {batch_size} rows of {sequence_length} steps needs at least "
            f"{batch_size * sequence_length + 1} training tokens, and there are {token_count}; "
            "use a longer text, or a smaller batch size or sequence length, or sampling 'windows'"
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
    process_index: int = 0,
    process_count: int = 1,
) -> TokenBatches:
    """Endless batches of training sequences.

    Args:
        tokens: [N] integers.
        sampling: "windows" (uniformly random offsets, every row starts afresh) or "stream" (each row reads its own
            contiguous part of the tokens, and the carry passes from batch to batch).
        sequence_length: T.
        batch_size: rows of the global batch, over all processes.
        seed: of the random offsets, at least 0.
        process_index, process_count: this process gets rows `process_index::process_count` of each global batch.

    """
    part = process_part(sequence_length, batch_size, process_index, process_count)
    layout_of = SAMPLINGS.get(sampling)(len(tokens), sequence_length, batch_size, checked_seed(seed))
    return TokenBatches(tokens, ENDLESS, layout_of, part)


def validation_batches(
    tokens: np.ndarray,
    *,
    sequence_length: int,
    batch_size: int,
    carry: bool,
    start_D: np.ndarray | None = None,
    process_index: int = 0,
    process_count: int = 1,
) -> TokenBatches:
    """Batches in which every token but the first is a target exactly once; padding has mask False.

    Args:
        tokens: [N] integers, N at least 2.
        sequence_length: T.
        batch_size: rows of the global batch, over all processes.
        carry: False cuts consecutive windows of T, each starting afresh. True lays B contiguous parts side by side
            and resets only at their first step: the carry passes from batch to batch.
        start_D: starts of documents, the first 0; where given, documents are kept apart, and their first tokens are
            no targets. None: the tokens are one document.
        process_index, process_count: this process gets rows `process_index::process_count` of each global batch.
    """
    part = process_part(sequence_length, batch_size, process_index, process_count)
    target_count = len(tokens) - 1
    if target_count < 1:
        raise UsageError(f"validation needs at least 2 tokens, and there are {len(tokens)}; lower train_fraction")
    row_B = np.arange(batch_size)
    part_length = -(-target_count // batch_size)

    def windows(index: int) -> Layout:
        start_B = (index * batch_size + row_B) * sequence_length
        end_B = np.minimum(start_B + sequence_length, target_count)
        return spans(start_B, end_B, sequence_length, fresh=True)

    def stream(index: int) -> Layout:
        end_B = np.minimum((row_B + 1) * part_length, target_count)
        return spans(row_B * part_length + index * sequence_length, end_B, sequence_length, fresh=index == 0)

    # Either way B x T targets a batch at most; side by side, the longest part decides.
    length = -(-part_length // sequence_length) if carry else -(-target_count // (batch_size * sequence_length))
    layout_of = stream if carry else windows
    if start_D is not None:
        return TokenBatches(tokens, length, lambda index: apart(layout_of(index), start_D), part)
    return TokenBatches(tokens, length, layout_of, part)


def dataset(batches: Any) -> grain.IterDataset:
    """A random-access source of batches, in order.

    Its iterator's `get_state()` is a JSON-able dict, and `set_state()` resumes exactly.
    """
    # A batch is one read from memory, so that grain's reading threads would only cost time.
    options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
    return grain.MapDataset.source(batches).to_iter_dataset(options)


def _check_length(token_count: int, sequence_length: int) -> None:
    if token_count < sequence_length + 1:
        raise UsageError(
            f"sequence_length={sequence_length} needs at least {sequence_length + 1} training tokens, and there are "
            f"{token_count}; use a longer text or a shorter sequence length"
        )


def checked_seed(seed: int) -> int:
    if not 0 <= seed < 2**63:
        raise UsageError(f"seed={seed} is outside 0 to 2**63 - 1; give one inside")
    return seed


def process_part(sequence_length: int, batch_size: int, process_index: int, process_count: int) -> slice:
    """The rows of a global batch that this process reads."""
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
