"""The Numenta Anomaly Benchmark (Lavin & Ahmad 2015, arXiv 1510.03336): its 58 series, and how it scores alarms.

A window of rows lies around each anomaly. The first alarm in a window is worth the more, the earlier it comes:
2 / (1 + exp(5 y)) - 1, with y from -1 at the window's first row to 0 after its last one. An alarm outside of the
windows costs as much as the same curve falls below 0 at its distance from the window before it, in widths of that
window; 1 if there is none, or from three widths on. A window without an alarm costs a fixed amount. Profiles weigh the
three. The sum over all series is scaled so that a detector without alarms has 0, and a perfect one 100. There is one
threshold for all series, the best one for each profile; the benchmark searches for it with the same labels.

The first 15% of a series, at most 750 rows, are not scored.
"""

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.archives import ARCHIVES, RemoteArchive, github_archive, unpacked
from xlstm_jax.data.series.anomalies.monitored import Channels, Monitored, calibration_rows
from xlstm_jax.errors import UsageError

_URL, _TOP = github_archive("numenta/NAB", "ea702d75cc2258d9d7dd35ca8e5e2539d71f3140")
ARCHIVES["nab/nab_data.tar.gz"] = RemoteArchive(
    sources=(_URL,),
    members=("data/", "labels/combined_labels.json", "labels/combined_windows.json"),
    size=9_608_737,
    sha256="fcf9d8a773785e0cfbd367afdc36b0d76fe681990ed9c5ab3aa7e11ef23b81ce",
    tops=(_TOP,),
)

FAR = 3.0  # widths of a window after which a false alarm costs all


class Profile(NamedTuple):
    """What an alarm in a window is worth at best, what a false alarm costs at most, and what a missed window costs."""

    found: float
    false: float
    missed: float


PROFILES = {"nab": Profile(1, 0.11, 1), "nab_low_fp": Profile(1, 0.22, 1), "nab_low_fn": Profile(1, 0.11, 2)}


class Scored(NamedTuple):
    """What an alarm is worth at each scored row of a corpus, the series one after another.

    Attributes:
        worth_R: in a window from 0 to 1, elsewhere from -1 to 0, before the profile's weights.
        window_R: number of the row's window, -1 outside of them.
        count: number of windows.
    """

    worth_R: np.ndarray
    window_R: np.ndarray
    count: int


def read(only: str = "") -> tuple[Channels, list[Monitored]]:
    """The channel "value" and the series whose names contain `only`, in the order of names.

    Dates are in order up to the changes of the clock in autumn, where they repeat.
    """
    folder = unpacked("nab/nab_data.tar.gz")
    labelled = json.loads((folder / "labels/combined_windows.json").read_text(encoding="utf-8"))
    found = []
    for name in sorted(name for name in labelled if only in name):
        lines = (folder / "data" / name).read_text(encoding="utf-8").split("\n")[1:]
        times, values = zip(*(line.strip().split(",") for line in lines if line.strip()), strict=True)
        # A window's dates have fractions of a second; the first row of a repeated date counts.
        windows = tuple((times.index(one[:19]), times.index(other[:19])) for one, other in labelled[name])
        dates_N = np.array(times, "datetime64[s]")
        values_NC = np.array(values, np.float64)[:, None]
        found.append(Monitored(name, dates_N, values_NC, calibration_rows(len(times)), windows=windows))
    if not found:
        raise UsageError(f"data.only {only!r} is in no name of a series, such as {', '.join(sorted(labelled)[:3])}")
    return Channels(["value"]), found


def scored(series: Sequence[Monitored]) -> Scored:
    """The worth of an alarm at each row after the calibration parts."""
    worth, window, count = [], [], 0
    for one in series:
        worth_N, window_N = _worth(len(one.values_NC), one.windows)
        later = slice(one.calibration, None)
        worth.append(worth_N[later])
        known = np.unique(window_N[later][window_N[later] >= 0])  # some may lie in the calibration part
        window.append(np.where(window_N[later] < 0, -1, count + np.searchsorted(known, window_N[later])))
        count += len(known)
    return Scored(np.concatenate(worth), np.concatenate(window), count)


def _worth(rows: int, windows: Sequence[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    worth_N, window_N, row_N = np.full(rows, -1.0), np.full(rows, -1), np.arange(rows)
    starts = [first for first, _ in windows] + [rows]
    for number, (first, last) in enumerate(windows):
        inside, after, width = slice(first, last + 1), slice(last + 1, starts[number + 1]), last - first + 1
        worth_N[inside] = _sigmoid((row_N[inside] - last - 1) / width) / _sigmoid(np.array([-1.0]))
        worth_N[after] = _sigmoid((row_N[after] - last) / max(width - 1, 1))
        window_N[inside] = number
    return worth_N, window_N


def _sigmoid(y: np.ndarray) -> np.ndarray:
    return np.where(y >= FAR, -1.0, 2 / (1 + np.exp(5 * np.minimum(y, FAR))) - 1)


def curve(score_R: np.ndarray, rows: Scored, profile: Profile) -> tuple[np.ndarray, np.ndarray]:
    """Every threshold that makes a difference, from the highest, and the benchmark's score at it, 0 to 100.

    An alarm is a score of at least the threshold. The first threshold is infinite: no alarm, 0 points.
    """
    order_R = np.argsort(-score_R, kind="stable")
    score_R, worth_R, window_R = score_R[order_R], rows.worth_R[order_R], rows.window_R[order_R]
    gain_R = np.where(window_R < 0, worth_R * profile.false, 0.0)
    best = dict.fromkeys(range(rows.count), -profile.missed)
    for place in np.flatnonzero(window_R >= 0):
        window, worth = int(window_R[place]), profile.found * worth_R[place]
        if worth > best[window]:
            gain_R[place], best[window] = worth - best[window], worth
    last_R = np.append(score_R[1:] != score_R[:-1], True)
    points_K = 100 * np.cumsum(gain_R)[last_R] / (rows.count * (profile.found + profile.missed) or 1)
    return np.append(np.inf, score_R[last_R]), np.append(0.0, points_K)


def result(score_R: np.ndarray, rows: Scored, fixed: float) -> Mapping[str, float]:
    """The score of each profile at its best threshold, that threshold of the standard profile, and the standard score
    at the threshold `fixed`, which uses no label."""
    found = {}
    for name, profile in PROFILES.items():
        thresholds_K, points_K = curve(score_R, rows, profile)
        best = int(np.argmax(points_K))
        found[name] = float(points_K[best])
        if name == "nab":
            found["nab_threshold"] = float(thresholds_K[best]) if best else float(thresholds_K[1])
            found["nab_fixed"] = float(points_K[np.flatnonzero(thresholds_K >= fixed)[-1]])
    return found
