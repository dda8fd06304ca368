"""The panels of a sweep's figure: a metric by name, along a number, over steps."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from experiments.programs.figures import log_scale
from experiments.sweeping.base import Sweep
from experiments.sweeping.records import Row, by_setting


@dataclasses.dataclass(frozen=True)
class Line:
    """The style of one row, the same in every panel."""

    colour: Any
    label: str
    marker: str = "o"
    alpha: float = 1.0


def varied(sweep: Sweep) -> list[str]:
    """The kept axes with two or more settings, without the one that lines are drawn along."""
    settings = {name: {point.labels[name] for point in sweep.points} for name in sweep.kept}
    return [name for name in sweep.kept if len(settings[name]) > 1 and name != sweep.along]


def series(sweep: Sweep) -> list[str]:
    """The axes shown by colour. If there are two or more, the first has its own panels instead."""
    told_apart = varied(sweep)
    return told_apart[1:] or told_apart or [name for name in sweep.axes if name != sweep.along]


def setting_name(row: Row, axes: Sequence[str]) -> str:
    return ", ".join(row.point.labels[name] for name in axes)


def dots(axes, sweep: Sweep, name: str, rows: Sequence[Row], lines: dict[int, Line], group: str) -> None:
    """A metric at the end, one line per setting: a dot for each seed, and the mean."""
    for position, row in enumerate(rows):
        line = lines[id(row)]
        values = row.found(name)
        axes.plot(values, [position] * len(values), "o", color=line.colour, alpha=0.7)
        if values:
            mean = row.mean(name)
            axes.plot([mean], [position], "|", color=line.colour, ms=16, mew=2)
            axes.annotate(f"{mean:.3f}", (max(values), position), (8, 0), textcoords="offset points", va="center")
    axes.set_yticks(range(len(rows)), [lines[id(row)].label for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.margins(x=0.18)
    axes.locator_params(axis="x", nbins=5)
    better = f" ({sweep.better} is better)" if name == sweep.metric else ""
    axes.set(xlabel=f"{name} at the end{better}", ylabel=", ".join(series(sweep)))
    axes.set_title(group, fontsize=10)
    _scale(axes, "x", name, sweep)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)


def against(axes, sweep: Sweep, name: str, rows: Sequence[Row], lines: dict[int, Line], group: str) -> None:
    """A metric at the end against a number: the mean over seeds, and a band from the lowest to the highest."""
    for mine in by_setting((row for row in rows if row.found(name)), series(sweep)).values():
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
    axes.set(xlabel=sweep.along, ylabel=f"{name}\nat the end{better}")
    axes.set_title(group, fontsize=10)
    if sweep.along in sweep.log:
        axes.set_xscale("log")
        numbers = sorted({float(row.point.labels[sweep.along]) for row in rows})
        axes.set_xticks(numbers, [f"{number:g}" for number in numbers])
        axes.set_xticks([], minor=True)
    _scale(axes, "y", name, sweep)
    axes.grid(alpha=0.3)


def curves(axes, sweep: Sweep, rows: Sequence[Row], lines: dict[int, Line], group: str) -> None:
    """The sweep's metric, or its `over_steps`, over the steps, one line per run."""
    metric = sweep.over_steps or sweep.metric
    for row in rows:
        line = lines[id(row)]
        for outcome in row.outcomes:
            if outcome.curve:
                steps, values = zip(*outcome.curve, strict=True)
                style = {"lw": 1.0} if sweep.along else {"lw": 1.4, "marker": "o", "ms": 3}
                axes.plot(steps, values, color=line.colour, alpha=line.alpha, label=line.label, **style)
    darker = f"darker: larger {sweep.along}" if sweep.along else ""
    axes.set(xlabel="step", ylabel=metric)
    axes.set_title(", ".join(filter(None, (group, darker))), fontsize=10)
    _scale(axes, "y", metric, sweep)
    axes.grid(alpha=0.3)


def _scale(axes, which: str, name: str, sweep: Sweep) -> None:
    """Sets a log scale if the sweep asks for one, else a range in which small differences look small.

    The range is from 0 to 1 for shares, and at least a twentieth of the value for other metrics.
    """
    if name in sweep.log:
        log_scale(axes, which)
        return
    low, high = getattr(axes, f"get_{which}lim")()
    if name.endswith(("accuracy", "solved")):
        low, high = min(low, -0.05), max(high, 1.15 if which == "x" else 1.05)  # room for the numbers next to dots
    elif (lacking := (max(abs(low), abs(high)) / 20 - (high - low)) / 2) > 0:
        low, high = low - lacking, high + lacking
    getattr(axes, f"set_{which}lim")(low, high)
