"""Interleaved timing: every case once a round, so that a slow minute of the machine hits all of them alike."""

import itertools
import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from rich.progress import track


class Stopped(Exception):
    """Raised by a case's `facts` where it should not run: the message says why, and no larger one is tried."""


class Facts(NamedTuple):
    """What is known of a case beside its time."""

    memory_mb: float = math.nan  # temporary memory of the compiled program
    error: float = math.nan  # ||y - reference|| / ||reference||
    compile_seconds: float = math.nan  # CPU seconds, of all threads, to trace and compile it with nothing from a cache


class Case(NamedTuple):
    """Something to time.

    `run()` does the work once and returns when it is done. Cases of one `group` are compared with each other: the first
    of a group is what the others' ratios are to. `facts()` is asked before the first run.
    """

    group: str
    name: str
    run: Callable[[], object]
    tokens: int  # that one run handles, for tokens per second
    size: int = 0  # where the same case stands in several groups: what grows from one to the next
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
    stopped: str = ""  # why it was not timed; the times are then not numbers


def series(case: Case | Row) -> tuple[str, str]:
    """What a case of several sizes is known by: its group without the size, and its name."""
    return case.group.partition(",")[0], case.name


def measure(cases: Sequence[Case], rounds: int, warmup: int = 2, patience: float = math.inf) -> list[Row]:
    """Time all cases `rounds` times, group by group, interleaved within, after `warmup` rounds that also compile.

    A case whose last warm-up run took longer than `patience` seconds is stopped, and so are the later ones of its name
    whose groups differ from its own after a comma alone ("forward, T 256").
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
        # Where the first was stopped there is nothing to compare with.
        base = timed.get(group[0].name, np.full(rounds, np.nan))
        for case in group:
            own = timed.get(case.name, np.full(rounds, np.nan))
            rows.append(_row(case, own, base, facts[case.name], stopped.get(series(case), "")))
    return rows


def _warm(case: Case, warmup: int, patience: float, stopped: dict[tuple[str, str], str]) -> Facts:
    """Run a case until it is warm; a reason in `stopped` where that is not worth while."""
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
