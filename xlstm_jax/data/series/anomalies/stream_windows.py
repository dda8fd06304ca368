"""Streams cut into overlapping windows: batches of random ones for training, and of all to judge each row once."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.batches import ENDLESS, generator
from xlstm_jax.data.series.anomalies.streams import Stream
from xlstm_jax.errors import UsageError


class Windows(NamedTuple):
    """A batch of windows. Only the last `stride` rows of a window are judged by it; those before are context."""

    inputs_BTF: np.ndarray  # float32, 0 before the first row
    targets_BTC: np.ndarray  # float32
    scored_BT: np.ndarray  # bool: counts in the loss
    row_B: np.ndarray  # int32: number, among all rows of all series, of the first row that is judged; -1: none
    rows_B: np.ndarray  # int32: how many rows are judged


class Corpus:
    """Windows of several streams.

    Args:
        streams: one or several.
        window: T, rows of a window.
        stride: rows between windows, at most T.
    """

    def __init__(self, streams: Sequence[Stream], window: int, stride: int):
        self.streams, self.window, self.stride = streams, window, stride
        self.offset_S = np.cumsum([0, *(len(one.targets_NC) for one in streams)])

    def cut(self, windows: Sequence[tuple[int, int, int, int]], *, judged: bool) -> Windows:
        """The batch of (number of a stream, first row, scored from, scored up to); number -1 fills up a batch."""
        shapes = [(len(windows), self.window, array.shape[1]) for array in self.streams[0][:2]]
        inputs_BTF, targets_BTC = (np.zeros(shape, np.float32) for shape in shapes)
        scored_BT = np.zeros(shapes[0][:2], bool)
        row_B, rows_B = np.full(len(windows), -1, np.int32), np.zeros(len(windows), np.int32)
        for place, (number, first, low, high) in enumerate(windows):
            if number < 0:
                continue
            stream = self.streams[number]
            here = slice(max(first, 0), min(first + self.window, len(stream.targets_NC)))
            there = slice(here.start - first, here.stop - first)
            inputs_BTF[place, there], targets_BTC[place, there] = stream.inputs_NF[here], stream.targets_NC[here]
            scored_BT[place, there] = (np.arange(here.start, here.stop) >= low) & (
                np.arange(here.start, here.stop) < high
            )
            if judged:
                start = first + self.window - self.stride
                row_B[place], rows_B[place] = self.offset_S[number] + start, here.stop - start
        return Windows(inputs_BTF, targets_BTC, scored_BT, row_B, rows_B)


class TrainStreams:
    """Endless random-access source: a series at random, and a window that ends in its training part.

    Windows may begin before the series, as they do when a series begins to be watched. The first row does not count.

    Args:
        corpus: what the windows are cut from.
        batch_size: windows of the global batch.
        seed: of the draws.
        part: the windows of each global batch that this process reads.
    """

    def __init__(self, corpus: Corpus, *, batch_size: int, seed: int, part: slice):
        self._corpus, self._size, self._seed, self._part = corpus, batch_size, seed, part
        self._earliest = corpus.stride - corpus.window
        if (fewest := min(one.train for one in corpus.streams)) < corpus.stride:
            raise UsageError(
                f"data.stride {corpus.stride} is more than the {fewest} rows that a series is trained on; lower it"
            )

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Windows:
        rng, streams = generator(self._seed, index), self._corpus.streams
        number_B = rng.integers(len(streams), size=self._size)
        last_B = np.array([streams[number].train for number in number_B]) - self._corpus.window
        first_B = rng.integers(self._earliest, np.maximum(last_B, self._earliest) + 1)
        chosen = [*zip(number_B, first_B, strict=True)][self._part]
        return self._corpus.cut([(n, first, 1, streams[n].train) for n, first in chosen], judged=False)


class EvaluationStreams:
    """Random-access source of a split's windows, each row judged once, filled up with windows that do not count.

    Args:
        corpus: what the windows are cut from.
        split: "validation": the held out rows of the calibration parts; "test": all rows, of which those after the
            calibration part count in the loss.
        batch_size, part: as in `TrainStreams`.
    """

    def __init__(self, corpus: Corpus, split: str, *, batch_size: int, part: slice):
        self._corpus, self._size, self._part, self._judged = corpus, batch_size, part, split == "test"
        self._windows = []
        for number, one in enumerate(corpus.streams):
            bounds = (0, len(one.targets_NC)) if self._judged else (one.train, one.calibration)
            low, high = (one.calibration, len(one.targets_NC)) if self._judged else bounds
            for row in range(*bounds, corpus.stride):
                first = row - (corpus.window - corpus.stride)
                self._windows.append((number, first, max(row, low), high))

    def __len__(self) -> int:
        return math.ceil(len(self._windows) / self._size)

    def __getitem__(self, index: int) -> Windows:
        here = self._windows[index * self._size : (index + 1) * self._size]
        here += [(-1, 0, 0, 0)] * (self._size - len(here))
        return self._corpus.cut(here[self._part], judged=self._judged)
