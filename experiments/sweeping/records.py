"""The records of a sweep's runs, by point."""

import dataclasses
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.sweeping.base import Point, Sweep, SweepRun, is_number
from experiments.sweeping.measured import Measured, read_measured
from experiments.sweeping.results import RUNS, read_result
from xlstm_jax.errors import UsageError
from xlstm_jax.train.workdir.metrics import read_metrics

NOT_RUN = {"status": "not run", "message": ""}


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One run in the report."""

    run: SweepRun
    status: str  # finished, failed, not run
    message: str
    # parameters, tokens_per_second (median during training), seconds, and the final metrics, if the run has them
    values: Mapping[str, float]
    curve: tuple[tuple[int, float], ...]  # (step, metric)
    share: tuple[int, int] | None  # cores it ran on, runs at a time; None if not recorded
    measured: Measured | None  # the result of `Sweep.measure`


@dataclasses.dataclass(frozen=True)
class Row:
    """A point with its runs, one for each seed."""

    point: Point
    outcomes: tuple[Outcome, ...]
    others: tuple[Outcome, ...] = ()  # runs at the worse settings of `Sweep.best_of`

    @property
    def finished(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == "finished"]

    def found(self, name: str) -> list[float]:
        """The values of all finished runs that have one."""
        return [outcome.values[name] for outcome in self.finished if name in outcome.values]

    def mean(self, name: str) -> float:
        """Mean over the finished runs; NaN if there are none."""
        return statistics.fmean(found) if (found := self.found(name)) else math.nan

    def spread(self, name: str) -> float:
        """Sample standard deviation over the finished seeds; NaN for fewer than two, or if one diverged."""
        found = self.found(name)
        return statistics.stdev(found) if len(found) > 1 and all(map(math.isfinite, found)) else math.nan


def collect(sweep: Sweep, workdir: Path) -> list[Row]:
    """Returns every point with its runs, in the sweep's order; sorted by the metric if the only axis has names.

    Of the settings of `sweep.best_of`, only the one with the best mean is kept.
    """
    outcomes = [_outcome(sweep, run, workdir) for run in sweep.runs()]
    rows = [Row(point, tuple(o for o in outcomes if o.run.point is point)) for point in sweep.points]
    rows = [_best(sweep, group) for group in by_setting(rows, sweep.kept).values()]
    if len(sweep.kept) == 1 and not all(is_number(row.point.labels[sweep.kept[0]]) for row in rows):
        sign = -1 if sweep.better == "higher" else 1
        means = {id(row): row.mean(sweep.metric) for row in rows}
        rows.sort(key=lambda row: math.inf if math.isnan(means[id(row)]) else sign * means[id(row)])
    return rows


def _best(sweep: Sweep, group: Sequence[Row]) -> Row:
    """Returns the best row of a group (the first one if equal), with the runs of the other rows in `others`."""
    best = group[0]
    for row in group[1:]:
        if sweep.is_better(row.mean(sweep.metric), best.mean(sweep.metric)):
            best = row
    return dataclasses.replace(best, others=tuple(o for row in group if row is not best for o in row.outcomes))


def all_outcomes(rows: Iterable[Row]) -> list[Outcome]:
    """All runs, including those at worse settings of `best_of`."""
    return [outcome for row in rows for outcome in (*row.outcomes, *row.others)]


def by_setting(rows: Iterable[Row], axes: Sequence[str]) -> dict[tuple[str, ...], list[Row]]:
    """Groups the rows by their settings of some axes, in order."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.point.labels[name] for name in axes), []).append(row)
    return groups


def _outcome(sweep: Sweep, run: SweepRun, workdir: Path) -> Outcome:
    result: dict[str, Any] = read_result(workdir, run) or NOT_RUN
    records = read_metrics(workdir / RUNS / run.name)
    curve = _series(records, sweep.over_steps or sweep.metric)
    if result["status"] == "finished" and not _series(records, sweep.metric):
        raise UsageError(f"no {sweep.metric} in metrics.jsonl of {workdir / RUNS / run.name}; the sweep needs it")
    values = {name: points[-1][1] for name in sweep.metrics if (points := _series(records, name))}
    rates = [rate for _, rate in _series(records, "train/tokens_per_second")]
    if parameters := _series(records, "model/parameters"):
        values["parameters"] = parameters[0][1]
    if len(rates) > 1:
        values["tokens_per_second"] = statistics.median(rates[1:])
    if "seconds" in result:
        values["seconds"] = result["seconds"]
    share = (result["cores"], result["workers"]) if "cores" in result else None
    ended = sweep.measure and result["status"] == "finished"
    measured = read_measured(workdir / RUNS / run.name, sweep.measure) if ended else None
    return Outcome(run, result["status"], result["message"], values, curve, share, measured)


def _series(records: Sequence[Mapping[str, Any]], name: str) -> tuple[tuple[int, float], ...]:
    return tuple((record["step"], record[name]) for record in records if name in record)
