"""The figure of a sweep: where each point ended, and how it came there."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.sweeps.base import Sweep
from experiments.sweeps.records import Row
from xlstm_jax.files import replacing

PANEL = 5.5, 4.2  # inches
MARKERS = "osv^DPX*"


@dataclasses.dataclass(frozen=True)
class Line:
    """How what belongs to a row is drawn, in every panel alike."""

    colour: Any
    label: str
    marker: str = "o"
    alpha: float = 1.0


def draw(sweep: Sweep, rows: Sequence[Row], path: Path) -> None:
    """Each metric at the end, and the metric over steps, a line a run.

    A sweep along numbers has the metrics against them, a line for each setting of the other axes: the mean over seeds
    in a band from the lowest to the highest; where there are two or more other axes, a panel for each setting of the
    first. Else each metric is a dot a seed and a tick at their mean. `rows` as `records.collect` makes them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in rows if any(outcome.curve for outcome in row.outcomes)]
    rows_of_panels = _along_numbers(sweep, rows) if sweep.along else _by_name(sweep, rows)
    width, height = PANEL
    heights = [height if sweep.along else max(3.6, 0.34 * len(rows) + 1.4)] * len(rows_of_panels)
    size = (width * max(map(len, rows_of_panels)), sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(rows_of_panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, panels in zip(parts, rows_of_panels, strict=True):
        for axes, panel in zip(part.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            panel(axes)
        handles = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if len(handles) > 1:
            part.legend(handles.values(), handles.keys(), frameon=False, fontsize=8, loc="outside right center")
    figure.suptitle(sweep.question, fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


Panel = Callable[[Any], None]  # draws upon matplotlib's axes


def _by_name(sweep: Sweep, rows: Sequence[Row]) -> list[list[Panel]]:
    from matplotlib import colormaps

    palette = colormaps["tab10" if len(rows) <= 10 else "tab20"]
    lines = [Line(palette(position), _name(row, sweep.axes)) for position, row in enumerate(rows)]
    dots = [lambda axes, name=name: _dots(axes, sweep, name, rows, lines) for name in sweep.metrics]
    return [[*dots, lambda axes: _curves(axes, sweep, rows, lines)]]


def _along_numbers(sweep: Sweep, rows: Sequence[Row]) -> list[list[Panel]]:
    """A panel a metric, then the curves; where there are groups of settings, a column for each."""
    other = [name for name in sweep.kept if name != sweep.along]
    grouped = len(other) > 1
    groups: dict[str, list[Row]] = {}
    for row in sorted(rows, key=lambda row: float(row.point.labels[sweep.along])):
        groups.setdefault(row.point.labels[other[0]] if grouped else "", []).append(row)
    series = other[1:] if grouped else other
    lines = _lines(sweep, rows, series)

    def against(name: str, group: str) -> Panel:
        return lambda axes: _against(axes, sweep, name, groups[group], lines, series, group)

    def curves(group: str) -> Panel:
        mine = groups[group]
        return lambda axes: _curves(axes, sweep, mine, [lines[id(row)] for row in mine], group)

    table = [[against(name, group) for group in groups] for name in sweep.metrics] + [
        [curves(group) for group in groups]
    ]
    return table if grouped else [[panel for row in table for panel in row]]


def _lines(sweep: Sweep, rows: Sequence[Row], series: Sequence[str]) -> dict[int, Line]:
    """By id of the row: a colour for each setting of the axes in `series`, the paler the smaller the number along."""
    from matplotlib import colormaps

    names = list(dict.fromkeys(_name(row, series) for row in rows))
    palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
    numbers = sorted({float(row.point.labels[sweep.along]) for row in rows})
    made = {}
    for row in rows:
        share = (numbers.index(float(row.point.labels[sweep.along])) + 1) / len(numbers)
        name = _name(row, series)
        number = names.index(name)
        made[id(row)] = Line(palette(number), name, MARKERS[number % len(MARKERS)], 0.15 + 0.85 * share)
    return made


def _name(row: Row, axes: Sequence[str]) -> str:
    return ", ".join(row.point.labels[name] for name in axes)


def _dots(axes, sweep: Sweep, name: str, rows: Sequence[Row], lines: Sequence[Line]) -> None:
    for position, (row, line) in enumerate(zip(rows, lines, strict=True)):
        values = row.found(name)
        axes.plot(values, [position] * len(values), "o", color=line.colour, alpha=0.7)
        if values:
            mean = row.mean(name)
            axes.plot([mean], [position], "|", color=line.colour, ms=16, mew=2)
            axes.annotate(f"{mean:.3f}", (max(values), position), (8, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [line.label for line in lines])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    better = f" ({sweep.better} is better)" if name == sweep.metric else ""
    axes.set(xlabel=f"{name} at the end{better}", ylabel=", ".join(sweep.axes))
    if name in sweep.log:
        axes.set_xscale("log")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)


def _against(axes, sweep: Sweep, name: str, rows: Sequence[Row], lines, series: Sequence[str], group: str) -> None:
    settings: dict[str, list[Row]] = {}
    for row in rows:
        if row.found(name):
            settings.setdefault(_name(row, series), []).append(row)
    for label, mine in settings.items():
        numbers = [float(row.point.labels[sweep.along]) for row in mine]
        colour, marker = lines[id(mine[0])].colour, lines[id(mine[0])].marker
        axes.plot(numbers, [row.mean(name) for row in mine], f"{marker}-", color=colour, lw=1.6, ms=5, label=label)
        if any(math.isfinite(row.spread(name)) for row in mine):
            low, high = ([side(row.found(name)) for row in mine] for side in (min, max))
            axes.fill_between(numbers, low, high, color=colour, alpha=0.15, lw=0)
    better = f" ({sweep.better} is better)" if name == sweep.metric else ""
    axes.set(xlabel=sweep.along, ylabel=f"{name} at the end{better}")
    axes.set_title(group, fontsize=10)
    if sweep.along in sweep.log:
        axes.set_xscale("log")
        numbers = sorted({float(row.point.labels[sweep.along]) for row in rows})
        axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
        axes.set_xticks([], minor=True)
    if name in sweep.log:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)


def _curves(axes, sweep: Sweep, rows: Sequence[Row], lines: Sequence[Line], group: str = "") -> None:
    for row, line in zip(rows, lines, strict=True):
        for outcome in row.outcomes:
            if outcome.curve:
                steps, values = zip(*outcome.curve, strict=True)
                style = {"lw": 1.0} if sweep.along else {"lw": 1.4, "marker": "o", "ms": 3}
                axes.plot(steps, values, color=line.colour, alpha=line.alpha, label=line.label, **style)
    darker = f"darker: larger {sweep.along}" if sweep.along else ""
    axes.set(xlabel="step", ylabel=sweep.metric)
    axes.set_title(", ".join(filter(None, (group, darker))), fontsize=10)
    if sweep.metric in sweep.log:
        axes.set_yscale("log")
    axes.grid(alpha=0.3)
