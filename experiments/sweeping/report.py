"""Tables, CSV files and the figure of a sweep, from the records of its runs."""

import csv
import io
import math
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from experiments.programs.cli import config_at
from experiments.sweeping.base import Sweep
from experiments.sweeping.records import Outcome, Row, all_outcomes, by_setting, collect
from experiments.sweeping.results import SWEEP, read_name
from experiments.sweeping.runner import load
from xlstm_jax.errors import UsageError
from xlstm_jax.files import replacing


def report(workdir: str | Path, out: str | Path) -> None:
    """Writes table.md, runs.csv, figure.png, and measured.csv and samples.md if there are any; prints the tables.

    Raises:
        UsageError: there is no sweep in the workdir, or `out` cannot be written to.
    """
    from rich.table import Table

    from experiments.sweeping.figure import draw
    from experiments.sweeping.samples import write_samples
    from xlstm_jax.console import plain_console

    workdir, out = Path(workdir), Path(out)
    name = _name(workdir)
    sweep = load(name)
    rows = collect(sweep, workdir)
    try:
        out.mkdir(parents=True, exist_ok=True)
        _write(out / "table.md", markdown(sweep, name, rows))
        _write(out / "runs.csv", runs_csv(sweep, rows))
        written = "table.md, runs.csv"
        if sweep.measure:
            _write(out / "measured.csv", measured_csv(sweep, rows))
            written += ", measured.csv"
        written += write_samples(sweep, rows, workdir, out)
    except OSError as error:
        raise UsageError(f"{out} cannot be written to ({error.strerror}); give another folder") from error
    if any(outcome.curve for row in rows for outcome in row.outcomes):
        draw(sweep, rows, out / "figure.png")
        written += ", figure.png"
    tables = {sweep.question: table(sweep, rows)}
    tables |= {"": reach(sweep, rows)} if sweep.threshold is not None else {}
    console = plain_console(width=None if os.isatty(1) else 140)
    for title, (header, cells) in tables.items():
        shown = Table(*header, title=title or None)
        for row in cells:
            shown.add_row(*row)
        console.print(shown, soft_wrap=False)
    console.print(f"{written} are in {out}")


def _name(workdir: Path) -> str:
    name = read_name(workdir)
    if name is None:
        raise UsageError(f"workdir {workdir} holds no sweep (no {SWEEP}); run experiments.sweep there first")
    return name


def table(sweep: Sweep, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and cells: axes, parameters, metrics, perplexity for losses of language models, speed, runs."""
    several = " (mean ± std)" if len(sweep.seeds) > 1 else ""
    perplexities = _perplexities(sweep, rows)
    header = [f"best {name}" if name == sweep.best_of else name for name in sweep.axes]
    header += ["parameters", sweep.metric + several]
    header += ["perplexity"] if perplexities else []
    header += [*(name + several for name in sweep.also), "tokens/s", "minutes", "runs"]
    cells = []
    for place, row in enumerate(rows):
        line = [*row.point.labels.values(), _number(row.mean("parameters"), ",.0f"), _with_spread(row, sweep.metric)]
        line += [_number(perplexities[place], ".2f")] if perplexities else []
        line += [_with_spread(row, name) for name in sweep.also]
        line += [_number(row.mean("tokens_per_second"), ",.0f"), _number(row.mean("seconds") / 60, ".1f")]
        others = f"; at other {sweep.best_of}: {_runs(row.others)}" if row.others else ""
        cells.append([*line, _runs(row.outcomes) + others])
    return header, cells


def _perplexities(sweep: Sweep, rows: Sequence[Row]) -> list[float]:
    """The perplexity of each row, NaN if its loss is not that of a language model; empty if no row has one."""
    configs = [row.point.changes.get("config", sweep.config) for row in rows] if sweep.metric.endswith("loss") else []
    texts = {config for config in set(configs) if config_at(config).task == "language_model"}
    if not texts:
        return []
    losses = [
        row.mean(sweep.metric) if config in texts else math.nan for row, config in zip(rows, configs, strict=True)
    ]
    return [math.exp(min(loss, 700.0)) for loss in losses]


def reach(sweep: Sweep, rows: Sequence[Row]) -> tuple[list[str], list[list[str]]]:
    """Header and cells: for each setting of the other axes, the largest number at which the threshold is reached.

    "none" if it is not reached at any number, "-" if this is not known yet.
    """
    other = [name for name in sweep.kept if name != sweep.along]
    cells = []
    for labels, mine in by_setting(rows, other).items():
        numbers = [row.point.labels[sweep.along] for row in mine if sweep.reached(row.mean(sweep.metric))]
        neither = "none" if all(row.finished for row in mine) else "-"
        cells.append([*labels, max(numbers, key=float, default=neither)])
    bound = "or less" if sweep.better == "lower" else "or more"
    return [*other, f"largest {sweep.along} with {sweep.metric} of {sweep.threshold:g} {bound}"], cells


def _with_spread(row: Row, name: str) -> str:
    spread = row.spread(name)
    return _number(row.mean(name), ".4f") + (f" ± {spread:.4f}" if math.isfinite(spread) else "")


def _number(value: float, form: str) -> str:
    return "-" if math.isnan(value) else format(value, form)


def _runs(outcomes: Sequence[Outcome]) -> str:
    """The number of runs by status, and the message of the first failure."""
    counts = {}
    for outcome in outcomes:
        counts[outcome.status] = counts.get(outcome.status, 0) + 1
    failed = next((outcome.message for outcome in outcomes if outcome.status == "failed"), "")
    return ", ".join(f"{count} {status}" for status, count in counts.items()) + (f": {failed}" if failed else "")


def _share(rows: Sequence[Row]) -> str:
    """How the runs shared the machine, such as "; one core a run, 2 runs at a time"; "" if not recorded."""
    shares = {outcome.share for outcome in all_outcomes(rows) if outcome.share is not None}
    if not shares:
        return ""

    def counted(numbers: set[int], unit: str) -> str:
        words = " or ".join("one" if number == 1 else str(number) for number in sorted(numbers))
        return f"{words} {unit}" + ("" if numbers == {1} else "s")

    cores, workers = (set(numbers) for numbers in zip(*shares, strict=True))
    return f"; {counted(cores, 'core')} a run, {counted(workers, 'run')} at a time"


def markdown(sweep: Sweep, name: str, rows: Sequence[Row]) -> str:
    """The question, the tables, the commands, the machine and the versions."""
    lines = [sweep.question, "", *_rows_of(*table(sweep, rows))]
    lines += ["", *_rows_of(*reach(sweep, rows))] if sweep.threshold is not None else []
    versions = ", ".join(f"{package} {metadata.version(package)}" for package in ("jax", "flax", "optax"))
    machine = f"{os.cpu_count()} CPU cores ({platform.machine()}), Python {platform.python_version()}, {versions}"
    common = ", ".join(f"{key} {value}" for key, value in sweep.changes.items())
    lines += ["", f"`python -m experiments.sweep --sweep={name} --workdir=DIR`, then"]
    lines += [f"`python -m experiments.report --workdir=DIR`, on {machine}{_share(rows)}."]
    lines += [f"At every point: {common}; {sweep.repeat}s {', '.join(map(str, sweep.seeds))}."] if common else []
    lines += ["", f"Held against: {sweep.published}."] if sweep.published else []
    return "\n".join(lines) + "\n"


def _rows_of(header: Sequence[str], cells: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *cells)]


def runs_csv(sweep: Sweep, rows: Sequence[Row]) -> str:
    """One line for each run, at all settings."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    known = ("parameters", *sweep.metrics, "tokens_per_second", "seconds")
    writer.writerow([*sweep.axes, sweep.repeat, "status", *known, "message"])
    for outcome in all_outcomes(rows):
        labels, values = outcome.run.point.labels.values(), (outcome.values.get(name, "-") for name in known)
        writer.writerow([*labels, outcome.run.seed, outcome.status, *values, outcome.message])
    return file.getvalue()


def measured_csv(sweep: Sweep, rows: Sequence[Row]) -> str:
    """One line for each point of a curve, for each measured run."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*sweep.axes, sweep.repeat, "curve", "x", "y"])
    for outcome in all_outcomes(rows):
        for curve in outcome.measured.curves if outcome.measured else ():
            labels = [*outcome.run.point.labels.values(), outcome.run.seed, curve.name]
            writer.writerows([*labels, x, f"{y:.6g}"] for x, y in zip(curve.x, curve.y, strict=True))
    return file.getvalue()


def _write(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
