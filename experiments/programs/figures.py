"""Figures of benchmarks, of the loss by position, of predictions, and of what was measured on a run."""

import math
import pathlib
from collections.abc import Sequence
from typing import Any

from experiments.benching.timing import Row, series
from experiments.sweeping.measured import Measured
from xlstm_jax.errors import UsageError

# Fields to plot against the size of the cases, each if at least one case has a value.
LINES = {"median_ms": "ms a run", "memory_mb": "temporary memory, MB", "error": "error"}


def draw(rows: Sequence[Row], path: pathlib.Path) -> None:
    """Plots lines over the size of the cases, or bars if no case has a size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sized = [row for row in rows if row.size]
    figure = Figure(figsize=(7, 0.42 * len(rows) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    (_lines if sized else _bars)(figure, sized or rows)
    figure.savefig(path, dpi=130)


def panels(count: int, size: tuple[float, float] = (7, 3.2)) -> tuple[Any, list[Any]]:
    """A figure with that many panels, two in a row if there are more than one, and their axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    wide = min(count, 2)
    high = math.ceil(count / wide)
    figure = Figure(figsize=(size[0] * wide, size[1] * high), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(high, wide, squeeze=False).ravel().tolist()
    for spare in axes[count:]:
        spare.remove()
    return figure, axes[:count]


def write_figure(figure: Any, path: pathlib.Path) -> None:
    """Writes a figure as an image, atomically; raises `UsageError` for a format that Matplotlib does not write."""
    from xlstm_jax.files import replacing

    known = figure.canvas.get_supported_filetypes()
    if path.suffix.removeprefix(".").lower() not in known:
        raise UsageError(f"{path.name!r} is not the name of an image; end it in one of {', '.join(sorted(known))}")
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def draw_positions(bins: Sequence, trained: int, unit: str, title: str, path: pathlib.Path) -> None:
    """Plots perplexity against the position in a window, with twice the standard error; marks the training length.

    `bins` come from `experiments.programs.loss_by_position`.
    """
    from xlstm_jax.tasks.language_model import perplexity

    figure, (axes,) = panels(1, (7, 4.2))
    centres = [math.sqrt(one.first * one.last) for one in bins]
    axes.plot(centres, [perplexity(one.nats) for one in bins], "o-", ms=3.5, color="C0", label="mean over windows")
    if all(one.standard_error is not None for one in bins):
        low, high = ([perplexity(one.nats + side * one.standard_error) for one in bins] for side in (-2, 2))
        axes.fill_between(centres, low, high, color="C0", alpha=0.2, lw=0, label="+- 2 standard errors")
    axes.axvline(trained, color="black", lw=1, ls="--", label=f"training length {trained}")
    axes.set_xscale("log", base=2)
    axes.set(xlabel="position in the window", ylabel=f"perplexity per {unit}")
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    write_figure(figure, path)


def draw_measured(measured: Measured, title: str, path: pathlib.Path) -> None:
    """Plots all curves of a measure in one panel."""
    figure, (axes,) = panels(1, (9, 4.2))
    for number, curve in enumerate(measured.curves):
        drawn = [y if y > 0 or "y" not in measured.log else math.nan for y in curve.y]
        axes.plot(curve.x, drawn, lw=1.3, color=f"C{number % 10}", label=curve.name)
    for which in measured.log:
        log_scale(axes, which)
    axes.set(xlabel=measured.x, ylabel=measured.y)
    axes.grid(alpha=0.3)
    if len(measured.curves) > 1:
        axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1))
    figure.suptitle(title, fontsize=10)
    write_figure(figure, path)


def log_scale(axes, which: str, least: float = 1.0) -> None:
    """Sets a log scale for the "x" or "y" axis of a finished plot, with ticks at 1, 2 and 5 if it is short.

    The axis spans at least a factor of `least`.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    getattr(axes, f"set_{which}scale")("log")
    axis = getattr(axes, f"{which}axis")
    low, high = axis.get_view_interval()
    if high < least * low:
        middle = math.sqrt(low * high)
        low, high = middle / math.sqrt(least), middle * math.sqrt(least)
        getattr(axes, f"set_{which}lim")(low, high)
    if 0 < low < high < 100 * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_locator(NullLocator())


def _lines(figure, rows):
    """One column for each group, one row for the time and for each known fact, one colour for each case."""
    panels = list(dict.fromkeys(series(row)[0] for row in rows))
    names = list(dict.fromkeys(row.name for row in rows))
    known = {field: title for field, title in LINES.items() if any(math.isfinite(getattr(row, field)) for row in rows)}
    figure.set_size_inches(4.2 * len(panels) + 2, 3.5 * len(known))
    grid = figure.subplots(len(known), len(panels), squeeze=False)
    for (field, title), line in zip(known.items(), grid, strict=True):
        for axis, panel in zip(line, panels, strict=True):
            if not any(math.isfinite(getattr(row, field)) for row in rows if series(row)[0] == panel):
                axis.remove()  # such as the error of a pass that has none
                continue
            for index, name in enumerate(names):
                mine = [row for row in rows if series(row) == (panel, name)]
                heights = [getattr(row, field) for row in mine]
                axis.plot([row.size for row in mine], heights, "o-", ms=3.5, color=f"C{index}", label=name)
            log_scale(axis, "y", least=10)  # do not magnify smaller differences
            axis.set_xscale("log", base=2)
            axis.set_xlabel("steps T")
            axis.set_title(f"{panel}: {title}", fontsize=9)
            axis.grid(alpha=0.3)
    figure.legend(*grid[0, 0].get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False)


def _bars(figure, rows):
    axes = figure.subplots()
    # A name can have a comma and details of the run after it. The part before it identifies the case in all groups.
    kinds = [row.name.partition(",")[0] for row in rows]
    colours = {name: f"C{index}" for index, name in enumerate(dict.fromkeys(kinds))}
    for position, (row, name) in enumerate(zip(rows, kinds, strict=True)):
        axes.barh(position, row.median_ms, color=colours[name])
        axes.hlines(position, row.low_ms, row.high_ms, color="black", lw=1.5)
        axes.annotate(
            f" {row.ratio:.2f}", (max(row.median_ms, row.high_ms), position), va="center", ha="left", fontsize=9
        )
    axes.set_yticks(range(len(rows)), [f"{row.group}: {row.name}" for row in rows])
    medians = [row.median_ms for row in rows]
    if max(medians) > 100 * min(medians):
        axes.set_xscale("log")
    axes.margins(x=0.12, y=0.01)
    axes.invert_yaxis()
    figure.suptitle("ms a run: median, quartiles; ratio to the first case of its group", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
