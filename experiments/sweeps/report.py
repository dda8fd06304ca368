"""Table, CSV and figure of a sweep, from the records of its runs."""

import csv
import dataclasses
import io
import json
import math
import os
import platform
import statistics
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from experiments.sweeps.base import Point, Sweep, SweepRun
from experiments.sweeps.runner import RUNS, SWEEP, load, read_result
from xlstm_jax.errors import UsageError
from xlstm_jax.files import replacing
from xlstm_jax.train.metrics import read_metrics


@dataclasses.dataclass(frozen=True)
class Outcome:
    """One run as the report has it; NaN where it did not get so far."""

    run: SweepRun
    status: str  # finished, failed, not run
    message: str
    parameters: float
    metric: float  # at the last step
    tokens_per_second: float  # median while training
    seconds: float
    curve: tuple[tuple[int, float], ...]  # (step, metric)


@dataclasses.dataclass(frozen=True)
class Row:
    """A point, over its seeds."""

    point: Point
    outcomes: tuple[Outcome, ...]

    @property
    def finished(self) -> list[Outcome]:
        return [outcome for outcome in self.outcomes if outcome.status == "finished"]

    def mean(self, field: str) -> float:
        """Over the runs that finished."""
        found = [getattr(outcome, field) for outcome in self.finished]
        return statistics.fmean(found) if found else math.nan

    @property
    def spread(self) -> float:
        """Sample standard deviation of the metric over seeds; NaN of fewer than two."""
        found = [outcome.metric for outcome in self.finished]
        return statistics.stdev(found) if len(found) > 1 else math.nan


def report(workdir: str | Path, out: str | Path) -> None:
    """Write table.md, runs.csv and figure.png, samples.md where there are samples, and print the table.

    Raises:
        UsageError: no sweep stands in the workdir, or `out` cannot be written.
    """
    from rich.console import Console
    from rich.table import Table

    from experiments.sweeps.figure import draw
    from experiments.sweeps.samples import write_samples

    workdir, out = Path(workdir), Path(out)
    name = _name(workdir)
    sweep = load(name)
    rows = collect(sweep, workdir)
    header, cells = table(sweep, rows)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(out / "table.md", markdown(sweep, name, rows))
        _write(out / "runs.csv", runs_csv(sweep, rows))
        written = "table.md, runs.csv" + write_samples(sweep, rows, workdir, out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written ({error.strerror}); give another folder") from error
    if any(outcome.curve for row in rows for outcome in row.outcomes):
        draw(sweep, rows, out / "figure.png")
        written += ", figure.png"
    shown = Table(*header, title=sweep.question)
    for row in cells:
        shown.add_row(*row)
    console = Console(width=None if os.isatty(1) else 140)
    console.print(shown)
    console.print(f"{written} are in {out}", highlight=False, soft_wrap=True)


def _name(workdir: Path) -> str:
    path = workdir / SWEEP
    if not path.is_file():
        raise UsageError(f"workdir {workdir} holds no sweep (no {SWEEP}); run experiments.sweep there first")
    try:
        return json.loads(path.read_text(encoding="utf-8"))["sweep"]
    except (ValueError, KeyError) as error:
        raise UsageError(f"{path} is damaged; run experiments.sweep there again") from error


def collect(sweep: Sweep, workdir: Path) -> list[Row]:
    """Every point with its runs, in the sweep's order, or sorted by the metric where it has one axis of names."""
    outcomes = [_outcome(sweep, run, workdir) for run in sweep.runs()]
    rows = [Row(point, tuple(o for o in outcomes if o.run.point is point)) for point in sweep.points]
    if len(sweep.axes) == 1 and not all(_is_number(*row.point.labels.values()) for row in rows):
        sign = -1 if sweep.better == "higher" else 1
        rows.sort(key=lambda row: math.inf if math.isnan(row.mean("metric")) else sign * row.mean("metric"))
    return rows


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _outcome(sweep: Sweep, run: SweepRun, workdir: Path) -> Outcome:
    result: dict[str, Any] = read_result(workdir, run) or {"status": "not run", "message": "", "seconds": math.nan}
    records = read_metrics(workdir / RUNS / run.name)
    curve = tuple((record["step"], record[sweep.metric]) for record in records if sweep.metric in record)
    rates = [record["train/tokens_per_second"] for record in records if "train/tokens_per_second" in record]
    if result["status"] == "finished" and not curve:
        raise UsageError(f"no {sweep.metric} in metrics.jsonl of {workdir / RUNS / run.name}; the sweep asks for it")
    return Outcome(
        run=run,
        status=result["status"],
        message=result["message"],
        parameters=next((record["model/parameters"] for record in records if "model/parameters" in record), math.nan),
        metric=curve[-1][1] if curve else math.nan,
        tokens_per_second=statistics.median(rates[1:]) if len(rates) > 1 else math.nan,
        seconds=result["seconds"],
        curve=curve,
    )


def table(sweep: Sweep, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and cells: axes, parameters, the metric, what else of it a loss gives, speed, runs."""
    several = len(sweep.seeds) > 1
    perplexity = sweep.metric.endswith("loss")
    header = [*sweep.axes, "parameters", sweep.metric + (" (mean ± std)" if several else "")]
    header += ["perplexity"] if perplexity else []
    header += ["tokens/s", "minutes", "runs"]
    cells = []
    for row in rows:
        metric = _number(row.mean("metric"), ".4f") + (f" ± {row.spread:.4f}" if math.isfinite(row.spread) else "")
        line = [*row.point.labels.values(), _number(row.mean("parameters"), ",.0f"), metric]
        line += [_number(math.exp(min(row.mean("metric"), 700.0)), ".2f")] if perplexity else []
        line += [_number(row.mean("tokens_per_second"), ",.0f"), _number(row.mean("seconds") / 60, ".1f")]
        cells.append([*line, _runs(row)])
    return header, cells


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _runs(row: Row) -> str:
    """How many ended how; what the first failure said."""
    counts = {}
    for outcome in row.outcomes:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    failed = next((outcome.message for outcome in row.outcomes if outcome.status == "failed"), "")
    return ", ".join(f"{count} {status}" for status, count in counts.items()) + (f": {failed}" if failed else "")


def markdown(sweep: Sweep, name: str, rows: Sequence[Row]) -> str:
    """The question, the table, the command, machine and versions."""
    header, cells = table(sweep, rows)
    lines = [sweep.question, "", *("| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *cells))]
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in ("jax", "flax", "optax"))
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()}), Python {platform.python_version()}, {versions}"
    common = ", ".join(f"{key} {value}" for key, value in sweep.changes.items())
    lines += ["", f"`python -m experiments.sweep --sweep={name} --workdir=DIR`, then"]
    lines += [f"`python -m experiments.report --workdir=DIR`, on {machine}."]
    lines += [f"At every point: {common}; seeds {', '.join(map(str, sweep.seeds))}."] if common else []
    lines += ["", f"Held against: {sweep.published}."] if sweep.published else []
    return "\n".join(lines) + "\n"


def runs_csv(sweep: Sweep, rows: Sequence[Row]) -> str:
    """A line a run."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    known = ("status", "parameters", "metric", "tokens_per_second", "seconds", "message")
    writer.writerow([*sweep.axes, "seed", *(sweep.metric if field == "metric" else field for field in known)])
    for outcome in (outcome for row in rows for outcome in row.outcomes):
        labels = outcome.run.point.labels.values()
        writer.writerow([*labels, outcome.run.seed, *(getattr(outcome, field) for field in known)])
    return file.getvalue()


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
