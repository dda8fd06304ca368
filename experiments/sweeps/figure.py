"""The figure of a sweep: where each point ended, and how it came there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.sweeps.base import Sweep
from xlstm_jax.files import replacing


def draw(sweep: Sweep, rows: Sequence[Any], path: Path) -> None:
    """Left the metric at the end, a dot a seed and a tick at their mean; right the metric over steps, a line a run.

    `rows` as `report.collect` makes them.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows = [row for row in rows if any(outcome.curve for outcome in row.outcomes)]
    figure = Figure(figsize=(11, max(3.6, 0.34 * len(rows) + 1.4)), layout="constrained")
    FigureCanvasAgg(figure)
    ends, curves = figure.subplots(1, 2)
    palette = colormaps["tab10" if len(rows) <= 10 else "tab20"]
    for position, row in enumerate(rows):
        colour = palette(position)
        values = [outcome.metric for outcome in row.finished]
        ends.plot(values, [position] * len(values), "o", color=colour, alpha=0.7)
        if values:
            mean = row.mean("metric")
            ends.plot([mean], [position], "|", color=colour, ms=16, mew=2)
            ends.annotate(f"{mean:.3f}", (max(values), position), (8, 0), textcoords="offset points", va="center")
        label = ", ".join(row.point.labels.values())
        for number, outcome in enumerate(outcome for outcome in row.outcomes if outcome.curve):
            curves.plot(
                *zip(*outcome.curve, strict=True), "o-", color=colour, lw=1.4, ms=3, label="" if number else label
            )
    ends.set_yticks(range(len(rows)), [", ".join(row.point.labels.values()) for row in rows])
    ends.invert_yaxis()
    ends.margins(x=0.18)
    ends.set(xlabel=f"{sweep.metric} at the end ({sweep.better} is better)", ylabel=", ".join(sweep.axes))
    ends.spines[["top", "right"]].set_visible(False)
    ends.grid(axis="x", alpha=0.3)
    curves.set(xlabel="step", ylabel=sweep.metric)
    curves.grid(alpha=0.3)
    if len(rows) > 1:
        curves.legend(frameon=False, fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.suptitle(sweep.question, fontsize=11)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)
