"""A figure of what is known of series, and of what follows."""

from collections.abc import Sequence
from typing import Any

import numpy as np

MOST_NAMED = 10  # series of a legend


def draw_continuation(
    axes: Any,
    names: Sequence[str],
    known_TC: np.ndarray,
    following_HC: np.ndarray,
    *,
    times_S: np.ndarray | None = None,
    band: tuple[np.ndarray, np.ndarray] | None = None,
    unit: str = "steps",
) -> None:
    """Draws known values, and dashed what follows the present, the last of them, on Matplotlib axes.

    Args:
        axes: to draw on.
        names: of the series.
        known_TC, following_HC: in the data's units.
        times_S: dates of both; None: they are numbered from the present on.
        band: lower and upper values that the following are between, each [H, C].
        unit: of the numbers.
    """
    known, following = len(known_TC), len(following_HC)
    times = np.arange(-known + 1, following + 1) if times_S is None else times_S
    for number, name in enumerate(names):
        known_T = known_TC[:, number]
        axes.plot(times[:known], known_T, color=f"C{number}", lw=1, label=name)
        line = [known_T[-1], *following_HC[:, number]]
        axes.plot(times[known - 1 :], line, color=f"C{number}", lw=1.5, ls="--")
        if band:
            low_H, high_H = (part_HC[:, number] for part_HC in band)
            axes.fill_between(times[known:], low_H, high_H, color=f"C{number}", alpha=0.2, lw=0)
    axes.axvline(times[known - 1], color="black", lw=0.8)
    axes.grid(alpha=0.3)
    axes.tick_params(axis="x", labelrotation=0 if times_S is None else 20)
    if times_S is None:
        axes.set_xlabel(f"{unit} from the present")
    if len(names) <= MOST_NAMED:
        axes.legend(frameon=False, fontsize=7, ncols=2, loc="upper left")
