"""Contexts that a user gives, and the answers to them: forecasts in the data's units, as JSON and as a figure."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from xlstm_jax.data.codecs import Numbers
from xlstm_jax.data.series.continuation import draw_continuation
from xlstm_jax.data.series.forecasts.columns import Columns
from xlstm_jax.data.series.forecasts.windows import Windows
from xlstm_jax.data.series.table import Table, is_table, read_csv
from xlstm_jax.errors import UsageError, shown

DIGITS = 6  # significant ones, of a forecast
SHOWN = 3  # contexts of this many horizons are drawn


class Example(NamedTuple):
    """A context to forecast from."""

    past_TF: np.ndarray  # standardised
    known_SK: np.ndarray | None  # standardised, of context and horizon
    times_S: np.ndarray | None  # dates of context and horizon


def read_example(text: str, columns: Columns, context: int, horizon: int, *, time: str, fill: bool) -> Example:
    """A context from a user's input: the path of a CSV file, or numbers.

    The file has the columns of the training data, and ends with the present; where columns are known ahead, it goes on
    for the horizon, with the targets left empty. Numbers are a JSON list of the context's steps.

    Args:
        text: a line of input.
        columns: the codec.
        context, horizon: steps.
        time: name of the file's column of dates; "": none.
        fill: see `Columns.series`.
    """
    if is_table(text):
        return _of_table(read_csv(text, time=time, columns=columns.roles.all), columns, context, horizon, fill)
    if columns.known_count:
        raise UsageError("this run needs columns that are known ahead, or dates; give the path of a CSV file")
    values_TF = Numbers(columns.read_count).encode(text)
    if len(values_TF) < context:
        raise UsageError(
            f"the input has {len(values_TF)} steps; give at least {context}, with {columns.read_count} numbers"
        )
    table = Table(columns.roles.all, values_TF[-context:].astype(np.float64), None)
    return Example(columns.series(table, fill=fill).read_NF, None, None)


def _of_table(table: Table, columns: Columns, context: int, horizon: int, fill: bool) -> Example:
    ahead = horizon if columns.roles.known else 0
    rows = len(table.values_NC) - ahead
    if rows < context:
        more = f" and {ahead} with what is known ahead" if ahead else ""
        raise UsageError(f"the file has {len(table.values_NC)} rows; give at least {context}{more}")
    targets = columns.roles.targets
    if ahead and np.isfinite(filled_HC := table.values_NC[rows:, : len(targets)]).any():
        name = targets[int(np.argmax(np.isfinite(filled_HC).any(axis=0)))]
        raise UsageError(
            f"the last {ahead} rows of the file are to be forecast, and column {shown(name)} has values there; after "
            f"the present, add {ahead} rows with what is known ahead ({', '.join(columns.roles.known)}) and no targets"
        )
    here = slice(rows - context, rows)
    times_S, known_SK = None, None
    if table.times_N is not None:
        later_H = table.times_N[rows:] if ahead else columns.later(table.times_N, horizon)
        times_S = np.concatenate([table.times_N[here], later_H])
    past = Table(table.names, table.values_NC[here], None if times_S is None else times_S[:context])
    series = columns.series(past, fill=fill)
    if columns.known_count:
        known_SC = (
            table.values_NC[rows - context :, columns.read_count :] if ahead else np.zeros((context + horizon, 0))
        )
        if not np.isfinite(known_SC).all():
            raise UsageError("a value of a column that is known ahead is missing in the horizon; fill it in")
        means, deviations = (part[columns.read_count :] for part in (columns.scaling.mean_C, columns.scaling.std_C))
        known_SK = columns.known(((known_SC - means) / deviations).astype(np.float32), times_S)
    return Example(series.read_NF, known_SK, times_S)


def collated(examples: Sequence[Example], horizon: int, targets: int) -> Windows:
    """A batch of contexts whose future is unknown: zeros that are not scored."""
    past_BTF = np.stack([example.past_TF for example in examples])
    known_BSK = None if examples[0].known_SK is None else np.stack([example.known_SK for example in examples])
    shape = len(examples), horizon, targets
    return Windows(past_BTF, known_BSK, np.zeros(shape, np.float32), np.zeros(shape, bool))


def answer(predicted_HCQ: np.ndarray, levels_Q: Sequence[float], columns: Columns, example: Example) -> dict[str, Any]:
    """The forecast of each column in its own units: the median, and each quantile if there are several."""
    names = columns.roles.targets
    values_HCQ = np.stack([columns.targets(predicted_HCQ[..., q]) for q in range(len(levels_Q))], axis=-1)
    record: dict[str, Any] = {}
    if example.times_S is not None:
        record["times"] = [str(time).replace("T", " ") for time in example.times_S[len(example.past_TF) :]]
    record["forecast"] = dict(zip(names, _rounded(values_HCQ[..., len(levels_Q) // 2]), strict=True))
    if len(levels_Q) > 1:
        record["quantiles"] = {
            f"{level:g}": dict(zip(names, _rounded(values_HCQ[..., q]), strict=True))
            for q, level in enumerate(levels_Q)
        }
    return record


def _rounded(values_HC: np.ndarray) -> list[list[float]]:
    return [[float(f"{value:.{DIGITS}g}") for value in column_H] for column_H in values_HC.T]


def draw(axes: Any, record: dict[str, Any], columns: Columns, example: Example) -> None:
    """Context and forecast of each column on Matplotlib axes, with a band between the outermost quantiles."""
    past_TC = columns.targets(example.past_TF[:, : len(columns.roles.targets)])
    names, following_HC = (*record["forecast"],), _stacked(record["forecast"])
    most = min(len(past_TC), SHOWN * len(following_HC) + 24)
    times_S = None if example.times_S is None else example.times_S[-most - len(following_HC) :]
    bands = [_stacked(forecast) for forecast in record.get("quantiles", {}).values()]
    band = (bands[0], bands[-1]) if bands else None
    draw_continuation(axes, names, past_TC[-most:], following_HC, times_S=times_S, band=band)


def _stacked(forecast: dict[str, list[float]]) -> np.ndarray:
    return np.stack([*forecast.values()], axis=1)
