"""The codec of forecasts: which columns of a table play which part, and how they are scaled."""

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from xlstm_jax.data.series.forecasts.windows import Series, calendar
from xlstm_jax.data.series.scaling import Scaling
from xlstm_jax.data.series.table import Table
from xlstm_jax.errors import UsageError, shown

CALENDAR = 6  # columns of `windows.calendar`


class Roles(NamedTuple):
    """Names of columns by their part in a forecast."""

    targets: tuple[str, ...]  # forecast
    covariates: tuple[str, ...] = ()  # known up to the present
    known: tuple[str, ...] = ()  # known ahead as well

    @property
    def all(self) -> tuple[str, ...]:
        return (*self.targets, *self.covariates, *self.known)


class Columns:
    """Tables to standardised series, forecasts to the table's units.

    Args:
        roles: names of the columns.
        scaling: of all columns, in the order targets, covariates, known.
        calendar: whether six columns of the calendar are known ahead too.
        step: seconds between rows, to date what follows a table; 0 for tables without dates.
    """

    kind = "columns"

    def __init__(self, roles: Roles, scaling: Scaling, *, calendar: bool, step: int):
        self.roles, self.scaling, self.calendar, self.step = roles, scaling, calendar, step

    @classmethod
    def of(cls, table: Table, roles: Roles, *, train: int, calendar: bool) -> Self:
        """Scaled by a table's first `train` rows. Without targets, all columns that have no other part are."""
        others = {*roles.covariates, *roles.known}
        roles = roles._replace(targets=roles.targets or tuple(name for name in table.names if name not in others))
        if twice := sorted({name for name in roles.all if roles.all.count(name) > 1}):
            raise UsageError(f"column {twice[0]!r} is named twice in data.targets, data.covariates and data.known")
        if not roles.targets:
            raise UsageError("data.targets is empty: every column has another part; name one to forecast")
        if calendar and table.times_N is None:
            raise UsageError("data.calendar needs dates; name their column by data.time")
        step = 0 if table.times_N is None else int(np.median(np.diff(table.times_N).astype(int)))
        scaling = Scaling.of(roles.all, _selected(table, roles.all)[:train])
        return cls(roles, scaling, calendar=calendar, step=step)

    def series(self, table: Table, *, fill: bool) -> Series:
        """The table's columns, standardised.

        Args:
            table: has the columns in any order.
            fill: whether a missing value is replaced by the last one before it; otherwise it is refused.
        """
        values_NC = _selected(table, self.roles.all)
        targets, read = len(self.roles.targets), self.read_count
        observed_NC = np.isfinite(values_NC)
        if not observed_NC.all():
            values_NC = _filled(values_NC, observed_NC, self.roles.all, table.times_N, fill=fill)
        scaled_NC = self.scaling.standardized(values_NC)
        return Series(scaled_NC[:, :read], self.known(scaled_NC[:, read:], table.times_N), observed_NC[:, :targets])

    def known(self, known_NK: np.ndarray, times_N: np.ndarray | None) -> np.ndarray | None:
        """Standardised columns that are known ahead, with those of the calendar; None if there are none."""
        if self.calendar:
            known_NK = np.concatenate([known_NK, calendar(times_N)[1].astype(np.float32)], axis=1)
        return known_NK if known_NK.shape[1] else None

    @property
    def read_count(self) -> int:
        """Columns of a context."""
        return len(self.roles.targets) + len(self.roles.covariates)

    @property
    def known_count(self) -> int:
        """Columns that are known ahead, those of the calendar included."""
        return len(self.roles.known) + (CALENDAR if self.calendar else 0)

    def targets(self, values_HC: np.ndarray) -> np.ndarray:
        """Standardised targets [..., C] in the table's units, float64."""
        count = len(self.roles.targets)
        return np.asarray(values_HC, np.float64) * self.scaling.std_C[:count] + self.scaling.mean_C[:count]

    def decode(self, past_TF: np.ndarray) -> str:
        """A context of standardised values as a JSON list."""
        mean_F, std_F = (moment[: self.read_count] for moment in (self.scaling.mean_C, self.scaling.std_C))
        return json.dumps((np.asarray(past_TF, np.float64) * std_F + mean_F).tolist())

    def later(self, times_N: np.ndarray, count: int) -> np.ndarray:
        """The `count` times that follow."""
        return times_N[-1] + np.timedelta64(self.step, "s") * np.arange(1, count + 1)

    def to_json(self) -> dict[str, Any]:
        roles = {name: list(names) for name, names in self.roles._asdict().items()}
        parts = {"scaling": self.scaling.to_json(), "calendar": self.calendar, "step": self.step}
        return {"kind": self.kind, **roles, **parts}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        data = data if isinstance(data, dict) else {}
        lists = [data.get(name) for name in Roles._fields]
        texts = all(isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists)
        if (
            data.get("kind") != cls.kind
            or not texts
            or type(data.get("calendar")) is not bool
            or type(data.get("step")) is not int
        ):
            raise UsageError(
                f"the codec is damaged; kind {cls.kind!r} needs targets, covariates, known, calendar and step"
            )
        roles, scaling = Roles(*map(tuple, lists)), Scaling.from_json(data.get("scaling"))
        if scaling.names != roles.all or not roles.targets:
            raise UsageError("the codec is damaged; its scaling is of other columns")
        return cls(roles, scaling, calendar=data["calendar"], step=data["step"])


def _selected(table: Table, names: Sequence[str]) -> np.ndarray:
    if unknown := [name for name in names if name not in table.names]:
        raise UsageError(
            f"there is no column {shown(unknown[0])}; the columns are {shown(', '.join(table.names), 300)}"
        )
    return table.values_NC[:, [table.names.index(name) for name in names]]


def _filled(values_NC, observed_NC, names: Sequence[str], times_N, *, fill: bool) -> np.ndarray:
    """Missing values replaced by the last one before them; where a column starts with none, by the first one."""
    row, column = map(int, np.argwhere(~observed_NC)[0])
    where = f"row {row + 1}" if times_N is None else f"{times_N[row]}"
    if not fill:
        raise UsageError(
            f"{(~observed_NC).sum():,} values are missing, the first in column {names[column]!r} at {where}; fill them "
            "in, or set data.missing to 'forward' to read the last value again and not to score it"
        )
    if empty := [name for name, seen_N in zip(names, observed_NC.T, strict=True) if not seen_N.any()]:
        raise UsageError(f"column {empty[0]!r} has no value; leave it out")
    last_NC = np.maximum.accumulate(np.where(observed_NC, np.arange(len(values_NC))[:, None], -1), axis=0)
    first_C = observed_NC.argmax(axis=0)
    return np.take_along_axis(values_NC, np.where(last_NC < 0, first_C, last_NC), axis=0)
