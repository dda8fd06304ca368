"""The Skoltech Anomaly Benchmark (Katser & Kozitsin 2020): a water circuit with eight sensors, a row per second.

Each of 34 experiments is disturbed for a while, by a closed valve, a leak, or an unbalanced rotor. As on the
benchmark's leaderboard, a detector learns from the first 400 rows of each, and the rows after them are scored, all
experiments together: F1 = 2 TP / (2 TP + FN + FP), the false alarm rate FP / (FP + TN), and the missed alarm rate
FN / (FN + TP). One experiment (other/2) is disturbed in its first 400 rows already.
"""

import numpy as np

from xlstm_jax.data.archives import ARCHIVES, RemoteArchive, github_archive, unpacked
from xlstm_jax.data.series.anomalies.monitored import Channels, Monitored
from xlstm_jax.data.series.table import read_csv
from xlstm_jax.errors import UsageError

_URL, _TOP = github_archive("waico/SKAB", "b2c0d46c2971dcbfe71e26087b6d231998bb91c2")
ARCHIVES["skab/skab_data.tar.gz"] = RemoteArchive(
    sources=(_URL,),
    members=("data/",),
    size=4_392_581,
    sha256="4b7b22da0d1b64aa06a0b9d6bd8f0f125d7edc095cba7c9ca302527fb761cb3a",
    tops=(_TOP,),
)

TRAINED = 400  # rows
LABELS = ("anomaly", "changepoint")


def read(only: str = "") -> tuple[Channels, list[Monitored]]:
    """The sensors' names and the experiments whose names contain `only`, such as "valve1/", in the order of names."""
    folder = unpacked("skab/skab_data.tar.gz") / "data"
    channels, found = Channels(["none"]), []
    for path in sorted(folder.glob("*/*.csv")):
        name = path.relative_to(folder).as_posix()
        if path.parent.name == "anomaly-free" or only not in name:
            continue
        table = read_csv(path, time="datetime")
        channels = Channels([column for column in table.names if column not in LABELS])
        values_NC = table.values_NC[:, [table.names.index(column) for column in channels.names]]
        label_N = table.values_NC[:, table.names.index(LABELS[0])] == 1
        found.append(Monitored(name, table.times_N, values_NC, TRAINED, label_N))
    if not found:
        raise UsageError(f"data.only {only!r} is in no name of an experiment, such as valve1/0.csv or other/1.csv")
    return channels, found


def counts(alarm_N: np.ndarray, anomalous_N: np.ndarray) -> np.ndarray:
    """Rows that are [TP, FP, FN, TN], float64; they add up over series."""
    cells = [alarm_N & anomalous_N, alarm_N & ~anomalous_N, ~alarm_N & anomalous_N, ~alarm_N & ~anomalous_N]
    return np.array([np.sum(cell) for cell in cells], np.float64)


def result(counts_4: np.ndarray) -> dict[str, float]:
    """F1, and the rates of false and of missed alarms in percent; 0 / 0 is 0."""
    tp, fp, fn, tn = counts_4
    return {
        "f1": float(2 * tp / max(2 * tp + fp + fn, 1)),
        "false_alarms": float(100 * fp / max(fp + tn, 1)),
        "missed_alarms": float(100 * fn / max(fn + tp, 1)),
    }
