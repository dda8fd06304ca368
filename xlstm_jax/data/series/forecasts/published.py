"""Series that papers on forecasting are compared on: where they come from, their splits, their seasons.

| name | rows | published split |
|---|---|---|
| ett_h1 | hours of an electricity transformer, 7 columns | 8,640, 2,880 and 2,880 hours (Zhou et al. 2021) |
| exchange | days of 8 currencies | 70, 10 and 20% (Lai et al. 2018) |
| illness | weeks of influenza-like illness in the USA, 7 columns | 70, 10 and 20% (Wu et al. 2021) |
| los_speed | 5 minutes, speeds at 207 sensors in Los Angeles | the last 20% for testing (Zhao et al. 2019) |
| pems | 5 minutes, vehicles on one lane | the second file for testing |
| pollution | hours of PM2.5 and weather in Beijing | none; 70, 10 and 20% here |
"""

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.download import FILES, RemoteFile, fetch, github
from xlstm_jax.data.series.table import Table, read_csv
from xlstm_jax.errors import UsageError

FILES |= {
    "ett/ETTh1.csv": RemoteFile(
        github("zhouhaoyi/ETDataset", "1d16c8f4f943005d613b5bc962e9eeb06058cf07", "ETT-small/ETTh1.csv"),
        "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066",
    ),
    "exchange_rate/exchange_rate.txt.gz": RemoteFile(
        github(
            "laiguokun/multivariate-time-series-data",
            "7f402f185cc2435b5e66aed13a3b560ed142e023",
            "exchange_rate/exchange_rate.txt.gz",
        ),
        "6a4fbb561dcdee43f071a83badbeec9223a335552278348656738b556f1c2e9d",
    ),
    "illness/national_illness.csv": RemoteFile(
        github(
            "junwoopark92/Self-Supervised-Contrastive-Forecsating",
            "f394705adbf5217811276f5e59576c6e7ea7586c",
            "dataset/illness/national_illness.csv",
        ),
        "8594cecb98c6f2f9dc014eca11c4d5d1e38ad5ce6ed0592d4abe65b146fce395",
    ),
    "traffic/los_speed.csv": RemoteFile(
        github("lehaifeng/T-GCN", "219a2346f5bf68d54d91a948e7a41a08f9edc46b", "data/los_speed.csv"),
        "7b732d86ae32b2930595becba28aff39dacbfb2197e250fc0332e1744ce2cbf4",
    ),
    "traffic/pems_train.csv": RemoteFile(
        github("xiaochus/TrafficFlowPrediction", "dec8243eb4ebe728d44d1ac73f38c2d3aaa9fd81", "data/train.csv"),
        "cf46f219b4595fa214d99d42a85ccd5e7137499efaa54e4705eaf25653b09f14",
    ),
    "traffic/pems_test.csv": RemoteFile(
        github("xiaochus/TrafficFlowPrediction", "dec8243eb4ebe728d44d1ac73f38c2d3aaa9fd81", "data/test.csv"),
        "c3abee88094bb733e04c74812ae6b749ac5f21f6ccedf53120b5e3d8df2fc7ba",
    ),
    "pollution/pollution.csv": RemoteFile(
        github("jbrownlee/Datasets", "d20fcb6402ae34e653d4513b00f39257bb37ed7f", "pollution.csv"),
        "892e9559205d16d32623135c127a3951c12e46ea1e0b3093e107ce89a9fd60e2",
    ),
}


class Published(NamedTuple):
    """A named data set.

    Attributes:
        read: returns the table.
        split: rows for training, validation and testing, or shares of all rows.
        season: steps after which the series resembles itself, for seasonal baselines; 1: none.
        targets: the columns that are forecast; empty: all.
    """

    read: Callable[[], Table]
    split: tuple[float, float, float]
    season: int
    targets: tuple[str, ...] = ()


def load(name: str) -> Published:
    """The data set of that name; its files are downloaded when it is read."""
    if name not in DATASETS:
        raise UsageError(f"the data set {name!r} is unknown; known: {', '.join(DATASETS)}")
    return DATASETS[name]


def _exchange() -> Table:
    text = gzip.decompress(fetch("exchange_rate/exchange_rate.txt.gz").read_bytes()).decode()
    values_NC = np.array([line.split(",") for line in text.split()], np.float64)
    return Table(tuple(f"currency {number}" for number in range(1, values_NC.shape[1] + 1)), values_NC, None)


def _los_speed() -> Table:
    table = read_csv(fetch("traffic/los_speed.csv"))
    times_N = np.datetime64("2012-03-01", "s") + np.timedelta64(300, "s") * np.arange(len(table.values_NC))
    return table._replace(times_N=times_N)


def _pems() -> Table:
    flow = "Lane 1 Flow (Veh/5 Minutes)"
    values, times = [], []
    for part in ("train", "test"):
        path = fetch(f"traffic/pems_{part}.csv")
        values.append(read_csv(path, columns=(flow,)).values_NC)
        days = [line.split(",")[0] for line in path.read_text(encoding="utf-8-sig").splitlines()[1:]]
        times += [_day_first(day) for day in days]
    return Table(("vehicles",), np.concatenate(values), np.array(times, "datetime64[s]"))


def _day_first(text: str) -> str:
    """04/01/2016 0:05 as 2016-01-04T00:05."""
    day, clock = text.split()
    day, month, year = day.split("/")
    hour, minute = clock.split(":")
    return f"{year}-{month:>02}-{day:>02}T{hour:>02}:{minute}"


WINDS = ("NW", "NE", "SE", "cv")  # cv: calm and variable


def _pollution() -> Table:
    """Without the first day, whose PM2.5 is missing; the wind's direction as four columns of 0 and 1."""
    path = fetch("pollution/pollution.csv")
    numbers = ("pm2.5", "DEWP", "TEMP", "PRES", "Iws", "Is", "Ir")
    table = read_csv(path, columns=("year", "month", "day", "hour", *numbers))
    year, month, day, hour = table.values_NC.T[:4].astype(int)
    months_N = (year - 1970).astype("datetime64[Y]").astype("datetime64[M]") + (month - 1)
    times_N = (months_N.astype("datetime64[D]") + (day - 1)).astype("datetime64[s]") + hour * np.timedelta64(3600, "s")
    directions = _column(path, "cbwd")
    wind_NC = np.array([[direction == wind for wind in WINDS] for direction in directions], np.float64)
    values_NC = np.concatenate([table.values_NC[:, 4:], wind_NC], axis=1)
    return Table((*numbers, *(f"wind {wind}" for wind in WINDS)), values_NC[24:], times_N[24:])


def _column(path: Path, name: str) -> list[str]:
    header, *rows = (line.split(",") for line in path.read_text(encoding="utf-8").splitlines())
    return [row[header.index(name)] for row in rows]


DATASETS = {
    "ett_h1": Published(lambda: read_csv(fetch("ett/ETTh1.csv"), time="date"), (8640, 2880, 2880), 24),
    "exchange": Published(_exchange, (0.7, 0.1, 0.2), 1),
    "illness": Published(lambda: read_csv(fetch("illness/national_illness.csv"), time="date"), (0.7, 0.1, 0.2), 52),
    "los_speed": Published(_los_speed, (0.7, 0.1, 0.2), 288),
    "pems": Published(_pems, (6912, 864, 4320), 288),
    "pollution": Published(_pollution, (0.7, 0.1, 0.2), 24, ("pm2.5",)),
}
