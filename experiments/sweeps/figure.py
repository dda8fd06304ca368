"""The figure of a sweep: where each point ended, and how it came there."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.figures import log_scale
from experiments.sweeps.base import Sweep
from experiments.sweeps.records import Row, by_setting
from xlstm_jax.files import replacing

PANEL = 5.5, 4.2  # inches
MARKERS = "osv^DPX*"
DECADES = 1e12  # of a measure on a log scale that are drawn at most, under its largest value


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
    lines = _lines(sweep, rows)
    rows_of_panels = (_along_numbers if sweep.along else _by_name)(sweep, rows, lines)
    width, height = PANEL
    heights = [height if sweep.along else max(3.6, 0.34 * len(rows) + 1.4)] * len(rows_of_panels)
    if measured := _measured(rows, lines):
        rows_of_panels, heights = [*rows_of_panels, measured], [*heights, height]
    size = (width * max(map(len, rows_of_panels)), sum(heights))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    parts = figure.subfigures(len(rows_of_panels), 1, squeeze=False, height_ratios=heights)[:, 0]
    for part, panels in zip(parts, rows_of_panels, strict=True):
        handles = {}
        for axes, panel in zip(part.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
            panel(axes)
            handles |= dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
        if len(handles) > 1:
            part.legend(handles.values(), handles.keys(), frameon=False, fontsize=8, loc="outside right center")
    figure.suptitle(sweep.question, fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


Panel = Callable[[Any], None]  # draws upon matplotlib's axes


def _lines(sweep: Sweep, rows: Sequence[Row]) -> dict[int, Line]:
    """By id of the row: a colour for each setting of the axes that are told apart within a panel.

    The paler, the smaller the number along.
    """
    from matplotlib import colormaps

    axes = _series(sweep) if sweep.along else sweep.axes
    names = list(dict.fromkeys(_name(row, axes) for row in rows))
    palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
    numbers = sorted({float(row.point.labels[sweep.along]) for row in rows}) if sweep.along else []
    lines = {}
    for row in rows:
        number = names.index(_name(row, axes))
        share = (numbers.index(float(row.point.labels[sweep.along])) + 1) / len(numbers) if sweep.along else 1
        style = MARKERS[number % len(MARKERS)], 0.15 + 0.85 * share
        lines[id(row)] = Line(palette(number), names[number], *style)
    return lines


def _series(sweep: Sweep) -> list[str]:
    """The axes told apart by colour where a sweep goes along numbers; a first one more has a panel for each setting."""
    other = [name for name in sweep.kept if name != sweep.along]
    return other[1:] if len(other) > 1 else other


def _by_name(sweep: Sweep, rows: Sequence[Row], lines: dict[int, Line]) -> list[list[Panel]]:
    dots = [lambda axes, name=name: _dots(axes, sweep, name, rows, lines) for name in sweep.metrics]
    return [[*dots, lambda axes: _curves(axes, sweep, rows, lines)]]


def _along_numbers(sweep: Sweep, rows: Sequence[Row], lines: dict[int, Line]) -> list[list[Panel]]:
    """A panel a metric, then the curves; where there are groups of settings, a column for each."""
    series = _series(sweep)
    grouping = [name for name in sweep.kept if name not in (sweep.along, *series)]
    groups = by_setting(sorted(rows, key=lambda row: float(row.point.labels[sweep.along])), grouping)

    def against(name: str, group: tuple[str, ...]) -> Panel:
        return lambda axes: _against(axes, sweep, name, groups[group], lines, ", ".join(group))

    def curves(group: tuple[str, ...]) -> Panel:
        return lambda axes: _curves(axes, sweep, groups[group], lines, ", ".join(group))

    table = [[against(name, group) for group in groups] for name in sweep.metrics]
    table.append([curves(group) for group in groups])
    return table if grouping else [[panel for row in table for panel in row]]


def _measured(rows: Sequence[Row], lines: dict[int, Line]) -> list[Panel]:
    """What was measured, a panel for each of its curves, all over one range."""
    found = [(row, o.measured) for row in rows for o in row.outcomes if o.measured]
    if not found:
        return []
    heights = [y for _, measured in found for curve in measured.curves for y in curve.y if y > 0 and math.isfinite(y)]
    top = max(heights, default=1.0)
    first = found[0][1]

    def panel(name: str) -> Panel:
        def draw_upon(axes):
            for row, measured in found:
                line = lines[id(row)]
                for curve in (curve for curve in measured.curves if curve.name == name):
                    drawn = [y if y > 0 or "y" not in first.log else math.nan for y in curve.y]
                    axes.plot(curve.x, drawn, color=line.colour, alpha=line.alpha, lw=1.6, label=line.label)
            for which in first.log:
                log_scale(axes, which)
            if "y" in first.log:
                axes.set_ylim(max(min(heights, default=1.0), top / DECADES) / 2, top * 2)
            axes.set(xlabel=first.x, ylabel=first.y)
            axes.set_title(name, fontsize=10)
            axes.grid(alpha=0.3)

        return draw_upon

    return [panel(curve.name) for curve in first.curves]


def _name(row: Row, axes: Sequence[str]) -> str:
    return ", ".join(row.point.labels[name] for name in axes)


def _dots(axes, sweep: Sweep, name: str, rows: Sequence[Row], lines: dict[int, Line]) -> None:
    for position, row in enumerate(rows):
        line = lines[id(row)]
        values = row.found(name)
        axes.plot(values, [position] * len(values), "o", color=line.colour, alpha=0.7)
        if values:
            mean = row.mean(name)
            axes.plot([mean], [position], "|", color=line.colour, ms=16, mew=2)
            axes.annotate(f"{mean:.3f}", (max(values), position), (8, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [lines[id(row)].label for row in rows])
    axes.invert_yaxis()
    axes.margins(x=0.18)
    better = f" ({sweep.better} is better)" if name == sweep.metric else ""
    axes.set(xlabel=f"{name} at the end{better}", ylabel=", ".join(sweep.axes))
    if name in sweep.log:
        log_scale(axes, "x")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)


def _against(axes, sweep: Sweep, name: str, rows: Sequence[Row], lines: dict[int, Line], group: str) -> None:
    for mine in by_setting((row for row in rows if row.found(name)), _series(sweep)).values():
        numbers = [float(row.point.labels[sweep.along]) for row in mine]
        line = lines[id(mine[0])]
        style = {"color": line.colour, "marker": line.marker, "label": line.label}
        axes.plot(numbers, [row.mean(name) for row in mine], lw=1.6, ms=5, **style)
        if any(math.isfinite(row.spread(name)) for row in mine):
            low, high = ([side(row.found(name)) for row in mine] for side in (min, max))
            axes.fill_between(numbers, low, high, color=line.colour, alpha=0.15, lw=0)
    if name == sweep.metric and sweep.threshold is not None:
        axes.axhline(sweep.threshold, color="black", lw=1, ls="--")
    better = f" ({sweep.better} is better)" if name == sweep.metric else ""
    axes.set(xlabel=sweep.along, ylabel=f"{name} at the end{better}")
    axes.set_title(group, fontsize=10)
    if sweep.along in sweep.log:
        axes.set_xscale("log")
        numbers = sorted({float(row.point.labels[sweep.along]) for row in rows})
        axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
        axes.set_xticks([], minor=True)
    if name in sweep.log:
        log_scale(axes, "y")
    axes.grid(alpha=0.3)


def _curves(axes, sweep: Sweep, rows: Sequence[Row], lines: dict[int, Line], group: str = "") -> None:
    for row in rows:
        line = lines[id(row)]
        for outcome in row.outcomes:
            if outcome.curve:
                steps, values = zip(*outcome.curve, strict=True)
                style = {"lw": 1.0} if sweep.along else {"lw": 1.4, "marker": "o", "ms": 3}
                axes.plot(steps, values, color=line.colour, alpha=line.alpha, label=line.label, **style)
    darker = f"darker: larger {sweep.along}" if sweep.along else ""
    axes.set(xlabel="step", ylabel=sweep.metric)
    axes.set_title(", ".join(filter(None, (group, darker))), fontsize=10)
    if sweep.metric in sweep.log:
        log_scale(axes, "y")
    axes.grid(alpha=0.3)
