"""Interleaved timing: each round runs every case once, so that a slow minute of the machine affects all of them."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from rich.progress import track


class Stopped(Exception):
    """Raised by a case's `facts` if it should not run. The message says why. Larger cases are then skipped too."""


class Facts(NamedTuple):
    """What is known about a case apart from its time."""

    memory_mb: float = math.nan  # temporary memory of the compiled program
    error: float = math.nan  # ||y - reference|| / ||reference||
    compile_seconds: float = math.nan  # CPU seconds, over all threads, to trace and compile it without a cache


class Case(NamedTuple):
    """Something to time.

    `run()` does the work once and returns when it is done. Cases of one `group` are compared with each other: ratios
    are relative to the first case of the group. `facts()` is called before the first run.
    """

    group: str
    name: str
    run: Callable[[], object]
    tokens: int  # per run, for tokens per second
    size: int = 0  # for a case in several groups: the number that grows from group to group
    facts: Callable[[], Facts] = Facts


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
    size: int = 0
    memory_mb: float = math.nan
    error: float = math.nan
    compile_seconds: float = math.nan
    stopped: str = ""  # why it was not timed; the times are then NaN


def series(case: Case | Row) -> tuple[str, str]:
    """Identifies a case across sizes: its group without the size, and its name."""
    return case.group.partition(",")[0], case.name


def measure(cases: Sequence[Case], rounds: int, warmup: int = 2, patience: float = math.inf) -> list[Row]:
    """Times all cases `rounds` times after `warmup` rounds, which also compile; the cases of a group are interleaved.

    A case whose last warm-up run took longer than `patience` seconds is stopped. So are later cases of the same name
    whose groups differ from its own only after a comma ("forward, T 256").
    """
    rows, stopped = [], {}
    groups = [list(group) for _, group in itertools.groupby(cases, key=lambda case: case.group)]
    for group in track(groups, description="measure", transient=True):
        facts = {case.name: _warm(case, warmup, patience, stopped) for case in group}
        running = [case for case in group if series(case) not in stopped]
        seconds = np.zeros((rounds, len(running)))
        for index, (column, case) in itertools.product(range(rounds), enumerate(running)):
            start = time.perf_counter()
            case.run()
            seconds[index, column] = time.perf_counter() - start
        timed = {case.name: seconds[:, column] for column, case in enumerate(running)}
        # If the first was stopped, there are no ratios.
        base = timed.get(group[0].name, np.full(rounds, np.nan))
        for case in group:
            own = timed.get(case.name, np.full(rounds, np.nan))
            rows.append(_row(case, own, base, facts[case.name], stopped.get(series(case), "")))
    return rows


def _warm(case: Case, warmup: int, patience: float, stopped: dict[tuple[str, str], str]) -> Facts:
    """Runs a case until it is warm and returns its facts. If it should not be timed, puts the reason into `stopped`."""
    if series(case) in stopped:
        return Facts()
    try:
        facts = case.facts()
    except Stopped as reason:
        stopped[series(case)] = str(reason)
        return Facts()
    took = 0.0
    for _ in range(warmup):
        start = time.perf_counter()
        case.run()
        took = time.perf_counter() - start
    if took > patience:
        stopped[series(case)] = f"a run takes {took:.0f} s"
    return facts


def _row(case: Case, seconds: np.ndarray, base: np.ndarray, facts: Facts, why: str) -> Row:
    low, median, high = np.percentile(seconds, (25, 50, 75))
    ratio_low, ratio, ratio_high = np.percentile(seconds / base, (25, 50, 75))
    times = (1e3 * median, 1e3 * low, 1e3 * high, case.tokens / median)
    return Row(case.group, case.name, *times, ratio, ratio_low, ratio_high, case.size, *facts, why)
