"""Figures of benchmark rows, and of loss by position."""

import math
import pathlib
from collections.abc import Sequence

from experiments.timing import Row, series


def draw(rows: Sequence[Row], path: pathlib.Path) -> None:
    """Lines over the size of the cases that have one; bars where none has."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sized = [row for row in rows if row.size]
    figure = Figure(figsize=(12.5, 4.2) if sized else (7, 0.42 * len(rows) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    (_lines if sized else _bars)(figure, sized or rows)
    figure.savefig(path, dpi=130)


def draw_positions(bins: Sequence, trained: int, unit: str, title: str, path: pathlib.Path) -> None:
    """Perplexity against the position in a window, with twice the standard error, the training length marked.

    `bins` as `xlstm_jax.train.positions` makes them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from xlstm_jax.files import replacing
    from xlstm_jax.tasks.language_model import perplexity

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
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
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)


def _lines(figure, rows):
    panels = list(dict.fromkeys(series(row)[0] for row in rows))
    memory = any(math.isfinite(row.memory_mb) for row in rows)
    axes = figure.subplots(1, len(panels) + memory, squeeze=False)[0]
    names = list(dict.fromkeys(row.name for row in rows))
    last = panels[-1]
    for axis, panel in zip(axes, [*panels, last], strict=False):
        of_memory = axis is axes[-1] and memory
        for index, name in enumerate(names):
            mine = [row for row in rows if series(row) == (panel, name)]
            heights = [row.memory_mb if of_memory else row.median_ms for row in mine]
            axis.plot([row.size for row in mine], heights, "o-", ms=3.5, color=f"C{index}", label=name)
        axis.set(xscale="log", yscale="log", xlabel="steps T")
        axis.set_xscale("log", base=2)
        axis.set_title(f"{panel}: " + ("temporary memory, MB" if of_memory else "ms a run"), fontsize=9)
        axis.grid(alpha=0.3)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False)


def _bars(figure, rows):
    axes = figure.subplots()
    # A case's name may end in what it took to run, after a comma; it is the same case in every group.
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
