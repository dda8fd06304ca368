"""What a user asks a zero-shot forecaster: a series, perhaps with covariates, and how far to forecast it."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from xlstm_jax.data.series.table import Table, is_missing, read_csv
from xlstm_jax.errors import UsageError, shown

MOST_AHEAD = 10_000  # steps
KEYS = ("values", "horizon", "covariates", "known")
FILES = (".csv", ".tsv", ".txt")
DIGITS = 4  # of a forecast, after the first digit of the context's standard deviation
SHOWN = 3  # contexts of this many horizons are drawn


class Questions(NamedTuple):
    """A batch of contexts that end together, with C covariates of T + horizon steps; unknown values are 0."""

    values_BT: np.ndarray  # float32, standardised
    seen_BT: np.ndarray  # bool
    covariates_BSC: np.ndarray  # float32
    covariates_seen_BSC: np.ndarray  # bool
    future_BC: np.ndarray  # bool: the covariate is known ahead

    @property
    def horizon(self) -> int:
        return self.covariates_BSC.shape[1] - self.values_BT.shape[1]


class Question(NamedTuple):
    """A series to forecast; NaN where a value is missing.

    Attributes:
        values_T: float64.
        covariates_SC: float64 [T + horizon, C]; the covariates that are not known ahead are missing in the horizon.
        future_C: bools: which are known ahead.
        horizon: steps to forecast.
    """

    values_T: np.ndarray
    covariates_SC: np.ndarray
    future_C: np.ndarray
    horizon: int

    @property
    def scale(self) -> tuple[float, float]:
        """Mean and standard deviation of the values, 1 if it is 0: float32 might not tell large values apart."""
        std = float(np.nanstd(self.values_T))
        return float(np.nanmean(self.values_T)), std if std > 0 and np.isfinite(std) else 1.0


def collated(questions: Sequence[Question], context: int) -> Questions:
    """The last `context` steps of each question, with room for the longest horizon's covariates after them."""
    count, steps = len(questions), context + max(one.horizon for one in questions)
    width = max(len(one.future_C) for one in questions)
    values_BT = np.full((count, context), np.nan)
    covariates_BSC = np.full((count, steps, width), np.nan)
    future_BC = np.zeros((count, width), bool)
    for row, one in enumerate(questions):
        mean, std = one.scale
        past = one.values_T[-context:]
        values_BT[row, context - len(past) :] = (past - mean) / std
        given = one.covariates_SC[-(len(past) + one.horizon) :]
        first = context - len(past)
        covariates_BSC[row, first : first + len(given), : given.shape[1]] = given
        future_BC[row, : given.shape[1]] = one.future_C
    seen_BT, given_BSC = np.isfinite(values_BT), np.isfinite(covariates_BSC)
    return Questions(
        np.where(seen_BT, values_BT, 0).astype(np.float32),
        seen_BT,
        np.where(given_BSC, covariates_BSC, 0).astype(np.float32),
        given_BSC,
        future_BC,
    )


def read_question(text: str, horizon: int) -> Question:
    """A question from a line of input.

    The line is one of: numbers separated by spaces or commas, or a JSON list, with NA or null for a missing value; a
    JSON object with "values", and perhaps "horizon", "covariates" (names with a list of as many values each) and
    "known" (names with lists that go on for the horizon); the path of a CSV file, followed by :COLUMN if it has several
    columns.

    Args:
        text: the line.
        horizon: steps to forecast if the line does not say.
    """
    text = text.strip()
    if not text:
        raise UsageError("the input is empty; give the numbers of a series, or the path of a CSV file")
    path, _, column = text.rpartition(":") if Path(text.rpartition(":")[0]).suffix in FILES else (text, "", "")
    if Path(path).suffix.lower() in FILES:
        return plain(_column(path, column), horizon)
    if text.startswith("{"):
        return _of_json(text, horizon)
    if text.startswith("["):
        return plain(_numbers(_json(text), "the input"), horizon)
    cells = text.replace(",", " ").replace(";", " ").split()
    return plain(_numbers([None if is_missing(cell) else cell for cell in cells], "the input"), horizon)


def plain(values_T: np.ndarray, horizon: int) -> Question:
    """A question without covariates."""
    return _checked(Question(values_T, np.zeros((len(values_T) + horizon, 0)), np.zeros(0, bool), horizon))


def _checked(question: Question) -> Question:
    if not np.isfinite(question.values_T).any():
        raise UsageError("the series has no value; give at least one number")
    return question


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"input {shown(text)} is not JSON; give numbers, a JSON list or a JSON object") from error


def _numbers(cells: Any, name: str) -> np.ndarray:
    """[T] float64, NaN for None."""
    if not isinstance(cells, list) or not cells:
        raise UsageError(f"{name} is not allowed; give a list of numbers")
    values = []
    for number, cell in enumerate(cells, start=1):
        try:
            value = math.nan if cell is None else float(cell)
        except (TypeError, ValueError) as error:
            raise UsageError(f"{name}: value {number}, {shown(cell)}, is not a number") from error
        if math.isinf(value) or isinstance(cell, bool):
            raise UsageError(f"{name}: value {number}, {shown(cell)}, is not a finite number")
        values.append(value)
    return np.array(values, np.float64)


def _of_json(text: str, horizon: int) -> Question:
    given = _json(text)
    if unknown := sorted({*given} - {*KEYS}):
        raise UsageError(f"key {shown(unknown[0])} is unknown; allowed: {', '.join(KEYS)}")
    horizon = given.get("horizon", horizon)
    if type(horizon) is not int or not 1 <= horizon <= MOST_AHEAD:
        raise UsageError(f"horizon {shown(horizon)} is not allowed; give 1 to {MOST_AHEAD:,} steps")
    values_T = _numbers(given.get("values"), "values")
    columns, future = [], []
    for kind, ahead in (("covariates", 0), ("known", horizon)):
        named = given.get(kind, {})
        if not isinstance(named, dict):
            raise UsageError(f'{kind} {shown(named)} is not allowed; give an object such as {{"price": [1, 2, 3]}}')
        for name, cells in named.items():
            column = _numbers(cells, f"{kind} {shown(name)}")
            if len(column) != len(values_T) + ahead:
                more = f" and {horizon} for the horizon" if ahead else ""
                raise UsageError(
                    f"{kind} {shown(name)} has {len(column)} values; give {len(values_T)}, as many as the series{more}"
                )
            columns.append(np.pad(column, (0, horizon - ahead), constant_values=np.nan))
            future.append(bool(ahead))
    covariates_SC = np.stack(columns, axis=1) if columns else np.zeros((len(values_T) + horizon, 0))
    return _checked(Question(values_T, covariates_SC, np.array(future, bool), horizon))


def _column(path: str, column: str) -> np.ndarray:
    """A column of a CSV file; of several columns, the first one may hold dates."""
    table = _table(path)
    if not column and len(table.names) > 1:
        raise UsageError(f"{path!r} has the columns {shown(', '.join(table.names), 300)}; choose one: {path}:COLUMN")
    column = column or table.names[0]
    if column not in table.names:
        raise UsageError(f"{path!r} has no column {shown(column)}; it has {shown(', '.join(table.names), 300)}")
    return table.values_NC[:, table.names.index(column)]


def _table(path: str) -> Table:
    try:
        return read_csv(path)
    except UsageError as error:
        if "is not a number" not in str(error):
            raise
        with open(path, encoding="utf-8-sig") as file:
            header = file.readline()
        first, *others = header.strip().split(max(",;\t", key=header.count))
        if not others:
            raise
        first = first.strip().strip('"')
        return read_csv(path, time=first)


def answer(standard_HQ: np.ndarray, question: Question, levels: Sequence[float]) -> dict[str, Any]:
    """Median and quantiles in the question's units, from standardised quantiles of at least its horizon."""
    mean, std = question.scale
    values_HQ = standard_HQ[: question.horizon].astype(np.float64) * std + mean
    columns = np.round(values_HQ.T, DIGITS - math.floor(math.log10(std))).tolist()
    quantiles = {f"{level:g}": column for level, column in zip(levels, columns, strict=True)}
    return {"forecast": columns[len(columns) // 2], "quantiles": quantiles}


def draw(axes: Any, record: dict[str, Any], question: Question) -> None:
    """The context's end, the median, and a band for each pair of quantiles, on Matplotlib axes."""
    columns = list(record["quantiles"].values())
    ahead = np.arange(1, question.horizon + 1)
    past_T = question.values_T[-SHOWN * question.horizon - 24 :]
    axes.plot(np.arange(-len(past_T) + 1, 1), past_T, color="black", lw=1)
    for low in range(len(columns) // 2):
        axes.fill_between(ahead, columns[low], columns[-1 - low], color="C0", alpha=0.15, lw=0)
    axes.plot(ahead, record["forecast"], color="C0", lw=1.5)
    axes.axvline(0, color="black", lw=0.8)
    axes.grid(alpha=0.3)
    axes.set_xlabel("steps from the present")
