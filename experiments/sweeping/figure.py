"""The figure of a sweep: the final metrics of each point, and the metric over the steps."""

import functools
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from experiments.programs.figures import log_scale
from experiments.sweeping.base import Sweep
from experiments.sweeping.panels import Line, against, curves, dots, series, setting_name, varied
from experiments.sweeping.records import Row, by_setting
from xlstm_jax.files import replacing

PANEL = 5.5, 4.2  # inches
MOST = 4  # panels next to each other
MARKERS = "osv^DPX*"
DECADES = 1e12  # on a log scale, measured values smaller than the largest by more than this are cut off


def draw(sweep: Sweep, rows: Sequence[Row], path: Path) -> None:
    """Plots each metric at the end, and the metric over the steps with one line for each run.

    If an axis of the sweep has numbers, metrics are plotted against it, with a line for each setting of the other axes:
    the mean over seeds, and a band from the lowest to the highest. Otherwise, each metric has a dot for each seed and a
    tick at the mean. If there are two or more (other) axes, each setting of the first has its own panels. `rows` come
    from `records.collect`.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in rows if any(outcome.curve for outcome in row.outcomes)]
    lines = _lines(sweep, rows)
    rows_of_panels = (_along_numbers if sweep.along else _by_name)(sweep, rows, lines)
    if measured := _measured(rows, lines):
        rows_of_panels = [*rows_of_panels, (PANEL[1], measured)]
    heights, rows_of_panels = zip(*rows_of_panels, strict=True)
    size = (PANEL[0] * max(map(len, rows_of_panels)), sum(heights))
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


Panel = Callable[[Any], None]  # draws on matplotlib's axes


def _lines(sweep: Sweep, rows: Sequence[Row]) -> dict[int, Line]:
    """Returns id(row) -> style: one colour for each setting of the axes distinguished within a panel.

    Smaller numbers along the sweep's axis are paler.
    """
    from matplotlib import colormaps

    axes = series(sweep)
    names = list(dict.fromkeys(setting_name(row, axes) for row in rows))
    palette = colormaps["tab10" if len(names) <= 10 else "tab20"]
    numbers = sorted({float(row.point.labels[sweep.along]) for row in rows}) if sweep.along else []
    lines = {}
    for row in rows:
        number = names.index(setting_name(row, axes))
        share = (numbers.index(float(row.point.labels[sweep.along])) + 1) / len(numbers) if sweep.along else 1
        style = MARKERS[number % len(MARKERS)], 0.15 + 0.85 * share
        lines[id(row)] = Line(palette(number % palette.N), names[number], *style)
    return lines


def _groups(sweep: Sweep, rows: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    """Groups the rows by the setting of the axis that has its own panels; one group, (), if there is no such axis."""
    return by_setting(rows, varied(sweep)[:-1][:1])


def _by_name(sweep: Sweep, rows: Sequence[Row], lines: dict[int, Line]) -> list[tuple[float, list[Panel]]]:
    """Heights and panels: one row for each group of settings, or several for many metrics."""
    table = []
    for group, mine in _groups(sweep, rows).items():
        given = {"sweep": sweep, "rows": mine, "lines": lines, "group": ", ".join(group)}
        panels = [functools.partial(dots, name=name, **given) for name in sweep.metrics]
        panels.append(functools.partial(curves, **given))
        wide = math.ceil(len(panels) / math.ceil(len(panels) / MOST))
        height = max(2.6, 0.34 * len(mine) + 1.4)
        table += [(height, panels[start : start + wide]) for start in range(0, len(panels), wide)]
    return table


def _along_numbers(sweep: Sweep, rows: Sequence[Row], lines: dict[int, Line]) -> list[tuple[float, list[Panel]]]:
    """Heights and panels: one panel for each metric, then the curves; with groups of settings, a column for each."""
    groups = _groups(sweep, sorted(rows, key=lambda row: float(row.point.labels[sweep.along])))
    given = [
        {"sweep": sweep, "rows": mine, "lines": lines, "group": ", ".join(group)} for group, mine in groups.items()
    ]
    table = [[functools.partial(against, name=name, **one) for one in given] for name in sweep.metrics]
    table.append([functools.partial(curves, **one) for one in given])
    table = table if len(groups) > 1 else [[panel for row in table for panel in row]]
    return [(PANEL[1], panels) for panels in table]


def _measured(rows: Sequence[Row], lines: dict[int, Line]) -> list[Panel]:
    """Panels of what was measured, one for each of its curves, all with the same range."""
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
