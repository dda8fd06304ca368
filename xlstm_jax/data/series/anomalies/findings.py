"""What is reported of a series that was watched: alarms with their scores, as JSON and as a figure."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from xlstm_jax.data.series.anomalies.alarms import stretches
from xlstm_jax.data.series.anomalies.monitored import Monitored


class Findings(dict):
    """The answer as JSON, with the score of each row for a figure.

    Attributes:
        scores_N: [rows], float64.
        threshold: an alarm is a score of at least this.
    """

    def __init__(self, answer: dict[str, Any], scores_N: np.ndarray, threshold: float):
        super().__init__(answer)
        self.scores_N, self.threshold = scores_N, threshold


def findings(series: Monitored, scores_N: np.ndarray, threshold: float) -> Findings:
    """Each run of alarms after the calibration part: its first and last row, by date or by number, and its top score.

    Rows are numbered from 1. The highest score is given as well, for a series without alarms.
    """

    def place(row: int) -> str | int:
        return row + 1 if series.times_N is None else str(series.times_N[row]).replace("T", " ")

    later_N = np.where(np.arange(len(scores_N)) >= series.calibration, scores_N, -np.inf)
    runs = [
        {"from": place(first), "to": place(last), "score": round(float(scores_N[first : last + 1].max()), 4)}
        for first, last in stretches(later_N >= threshold)
    ]
    top = int(np.argmax(later_N))
    highest = {"at": place(top), "score": round(float(scores_N[top]), 4)}
    return Findings({"alarms": runs, "threshold": threshold, "highest": highest}, scores_N, threshold)


def draw(axes: Any, found: Findings, series: Monitored, names: Sequence[str]) -> None:
    """Channels in deviations, the score below them, and the alarms across all, on Matplotlib axes."""
    rows = len(series.values_NC)
    times = np.arange(1, rows + 1) if series.times_N is None else series.times_N
    tall_C = np.std(series.values_NC, axis=0)
    scaled_NC = (series.values_NC - series.values_NC.mean(axis=0)) / np.where(tall_C > 0, tall_C, 1)
    for number, name in enumerate(names):
        axes.plot(times, np.clip(scaled_NC[:, number], -6, 6) + 8 * (len(names) - number), lw=0.7, label=name)
    height = max(found.threshold, float(found.scores_N[series.calibration :].max()), 1e-9)
    axes.plot(times, 4 * np.clip(found.scores_N, 0, height) / height, color="black", lw=0.7, label="score")
    axes.axhline(4 * found.threshold / height, color="black", lw=0.6, ls=":")
    later_N = np.arange(rows) >= series.calibration
    for first, last in stretches((found.scores_N >= found.threshold) & later_N):
        axes.axvspan(times[first], times[last], color="C3", alpha=0.3, lw=1.2)
    axes.axvspan(times[0], times[series.calibration - 1], color="gray", alpha=0.12, lw=0, label="taken as normal")
    axes.set_yticks([])
    axes.tick_params(axis="x", labelsize=8, labelrotation=0 if series.times_N is None else 20)
    axes.legend(frameon=False, fontsize=7, ncols=3, loc="upper left")
