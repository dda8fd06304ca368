"""Windows of a table: what is known at a time, and what follows."""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xlstm_jax.data.batches import ENDLESS, generator
from xlstm_jax.errors import UsageError


class Windows(NamedTuple):
    """A batch of windows; all numbers are standardised."""

    past_BTF: np.ndarray  # float32, the context: targets, then covariates
    known_BSK: np.ndarray | None  # float32, context and horizon: what is known ahead, such as the time of day
    future_BHC: np.ndarray  # float32, the targets of the horizon
    scored_BHC: np.ndarray  # bool: not missing, and no row that only fills up a batch


class Series(NamedTuple):
    """The columns of a table by their part in a forecast, standardised."""

    read_NF: np.ndarray  # float32: targets, then covariates
    known_NK: np.ndarray | None  # float32
    observed_NC: np.ndarray  # bool, whether a target was not missing

    def windows(self, starts_B: np.ndarray, context: int, horizon: int) -> Windows:
        """The windows whose horizons begin at the given rows."""
        past_BT = starts_B[:, None] + np.arange(-context, 0)
        future_BH = starts_B[:, None] + np.arange(horizon)
        both_BS = np.concatenate([past_BT, future_BH], axis=1)
        targets = self.observed_NC.shape[1]
        return Windows(
            self.read_NF[past_BT],
            None if self.known_NK is None else self.known_NK[both_BS],
            self.read_NF[future_BH][..., :targets],
            self.observed_NC[future_BH],
        )


def split_of(text: str) -> tuple[float, ...]:
    """The numbers in `data.split`, which has commas between them; see `parts` for what they mean."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"data.split {text!r} is not allowed; give three numbers such as 8640,2880,2880") from error


def parts(rows: int, split: Sequence[float], context: int, horizon: int) -> dict[str, np.ndarray]:
    """First rows of the horizons of each split: "train", "validation" and "test".

    A split's horizons lie within its rows; their contexts may reach into the split before it.

    Args:
        rows: of the table.
        split: three numbers of rows, or three shares of all rows.
        context, horizon: steps of a window.

    Raises:
        UsageError: the split is not three positive numbers, needs more rows than there are, or a part is too short.
    """
    if len(split) != 3 or not all(math.isfinite(part) and part > 0 for part in split):
        raise UsageError(f"data.split {_written(split)} is not allowed; give three positive numbers, rows or shares")
    if max(split) < 1:
        if sum(split) > 1 + 1e-6:
            raise UsageError(f"data.split {_written(split)} is not allowed; shares must add up to at most 1")
        train, test = int(rows * split[0]), int(rows * split[2])
        sizes = [train, min(round(rows * sum(split)), rows) - train - test, test]
    else:
        sizes = [int(part) for part in split]
        if sizes != [*split] or sum(sizes) > rows:
            raise UsageError(f"data.split {_written(split)} is not allowed; give whole rows, at most {rows:,} in all")
    starts, first = {}, 0
    for name, size in zip(("train", "validation", "test"), sizes, strict=True):
        earliest = max(first, context)
        starts[name] = np.arange(earliest, first + size - horizon + 1)
        if not len(starts[name]):
            raise UsageError(
                f"the {name} part has {size:,} rows, too few for a horizon of {horizon} after a context of {context}; "
                "lower data.context or data.horizon, or give it more rows by data.split"
            )
        first += size
    return starts


def _written(split: Sequence[float]) -> str:
    return repr(",".join(f"{part:g}" for part in split))


class TrainWindows:
    """Endless random-access source of windows. Each epoch has every window once, in random order.

    An epoch leaves out the windows that do not fill its last batch.

    Args:
        series: what the windows are cut from.
        starts: first rows of their horizons.
        context, horizon: steps of a window.
        batch_size: windows of the global batch.
        seed: of the order.
        part: the rows of each global batch that this process reads.
    """

    def __init__(
        self, series: Series, starts: np.ndarray, context: int, horizon: int, *, batch_size: int, seed: int, part: slice
    ):
        if batch_size > len(starts):
            raise UsageError(
                f"data.batch_size {batch_size} is more than the {len(starts):,} training windows; lower it"
            )
        self._series, self._starts, self._steps = series, starts, (context, horizon)
        self._size, self._seed, self._part = batch_size, seed, part
        self._order = functools.lru_cache(maxsize=2)(self._new_order)

    def __len__(self) -> int:
        return ENDLESS

    def _new_order(self, epoch: int) -> np.ndarray:
        return generator(self._seed, epoch).permutation(len(self._starts))

    def __getitem__(self, index: int) -> Windows:
        epoch, number = divmod(index, len(self._starts) // self._size)
        chosen = self._order(epoch)[number * self._size : (number + 1) * self._size][self._part]
        return self._series.windows(self._starts[chosen], *self._steps)


class EvaluationWindows:
    """Random-access source of all windows once, in order, filled up with windows that do not count."""

    def __init__(self, series: Series, starts: np.ndarray, context: int, horizon: int, *, batch_size: int, part: slice):
        self._series, self._starts, self._steps = series, starts, (context, horizon)
        self._size, self._part = batch_size, part

    def __len__(self) -> int:
        return math.ceil(len(self._starts) / self._size)

    def __getitem__(self, index: int) -> Windows:
        number = np.arange(index * self._size, (index + 1) * self._size)[self._part]
        starts = self._starts[np.minimum(number, len(self._starts) - 1)]
        batch = self._series.windows(starts, *self._steps)
        return batch._replace(scored_BHC=batch.scored_BHC & (number < len(self._starts))[:, None, None])


def calendar(times_N: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and values [rows, 6] of the time of day, day of the week and day of the year, each as sine and cosine."""
    days_N = times_N.astype("datetime64[D]")
    day_N = (times_N - days_N) / np.timedelta64(86400, "s")
    week_N = ((days_N.astype(int) + 3) % 7 + day_N) / 7  # 1970-01-01 was a Thursday; weeks begin on Monday
    year_N = ((days_N - days_N.astype("datetime64[Y]")).astype(int) + day_N) / 365.25
    waves = {"day": day_N, "week": week_N, "year": year_N}
    names = [f"{wave} of the {name}" for name in waves for wave in ("sine", "cosine")]
    turned = [wave(2 * np.pi * phase_N) for phase_N in waves.values() for wave in (np.sin, np.cos)]
    return tuple(names), np.stack(turned, axis=1)
