"""Interleaved timing: every case once a round, so that a slow minute of the machine hits all of them alike."""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from rich.progress import track


class Case(NamedTuple):
    """Something to time.

    `run()` does the work once and returns when it is done. Cases of one `group` are compared with each other: the first
    of a group is what the others' ratios are to.
    """

    group: str
    name: str
    run: Callable[[], object]
    tokens: int  # that one run handles, for tokens per second


class Row(NamedTuple):
    group: str
    name: str
    median_ms: float
    low_ms: float  # first quartile
    high_ms: float  # third quartile
    tokens_per_second: float
    ratio: float  # median over rounds of time / time of the group's first case in the same round
    ratio_low: float
    ratio_high: float


def measure(cases: Sequence[Case], rounds: int, warmup: int = 2) -> list[Row]:
    """Time all cases `rounds` times, interleaved, after `warmup` rounds that also compile."""
    for case in track(cases, description="compile and warm up", transient=True):
        for _ in range(warmup):
            case.run()
    seconds = np.zeros((rounds, len(cases)))
    for index in track(range(rounds), description="measure", transient=True):
        for column, case in enumerate(cases):
            start = time.perf_counter()
            case.run()
            seconds[index, column] = time.perf_counter() - start
    return [_row(cases, seconds, column) for column in range(len(cases))]


def _row(cases: Sequence[Case], seconds: np.ndarray, column: int) -> Row:
    case = cases[column]
    base = next(index for index, other in enumerate(cases) if other.group == case.group)
    low, median, high = np.percentile(seconds[:, column], (25, 50, 75))
    ratio_low, ratio, ratio_high = np.percentile(seconds[:, column] / seconds[:, base], (25, 50, 75))
    milliseconds = (1e3 * median, 1e3 * low, 1e3 * high)
    return Row(case.group, case.name, *milliseconds, case.tokens / median, ratio, ratio_low, ratio_high)
