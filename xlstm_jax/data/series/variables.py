"""Variables of a series that is predicted step by step: their codec, and a user's own file."""

import json
import math
from typing import Any

import numpy as np

from xlstm_jax.data.codecs import Numbers
from xlstm_jax.data.series.scaling import Scaling
from xlstm_jax.data.series.table import is_table, read_csv
from xlstm_jax.errors import UsageError

SHARES = (0.7, 0.85)  # of a user's rows: up to where they are for training, and for validation


class VariablesCodec:
    """Standardised variables, and the standard deviation of their changes from step to step."""

    kind = "series"

    def __init__(self, scaling: Scaling, change_D: np.ndarray):
        self.scaling, self.change_D = scaling, np.asarray(change_D, np.float64)

    @classmethod
    def of(cls, names: tuple[str, ...], series_NSD: np.ndarray) -> "VariablesCodec":
        scaling = Scaling.of(names, series_NSD.reshape(-1, len(names)))
        return cls(scaling, np.diff(scaling.standardized(series_NSD).astype(np.float64), axis=1).std(axis=(0, 1)))

    def encode(self, text: str) -> np.ndarray:
        """Values [T, D] of a user's input, not standardised: numbers, or the path of a CSV file with these columns."""
        return own_table(text, self.scaling.names)[1] if is_table(text) else Numbers(len(self.scaling)).encode(text)

    def decode(self, x_TD: np.ndarray) -> str:
        return json.dumps(self.scaling.restored(x_TD).tolist())

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "scaling": self.scaling.to_json(), "change": self.change_D.tolist()}

    @classmethod
    def from_json(cls, data: Any) -> "VariablesCodec":
        data = data if isinstance(data, dict) else {}
        scaling, change = Scaling.from_json(data.get("scaling")), data.get("change")
        numbers = isinstance(change, list) and all(type(x) is float and x > 0 and math.isfinite(x) for x in change)
        if data.get("kind") != cls.kind or not numbers or len(change) != len(scaling):
            raise UsageError(f"the codec is damaged; kind {cls.kind!r} needs scaling and change, a number per variable")
        return cls(scaling, np.array(change))


def own_series(path: str, longest: int) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
    """A user's series, cut in the order of time.

    Raises:
        UsageError: values are missing, or a part is shorter than a row.
    """
    names, values_ND = own_table(path)
    first, second = (round(share * len(values_ND)) for share in SHARES)
    cut = np.split(values_ND, [first, second])
    if min(map(len, cut)) < longest:
        raise UsageError(
            f"{path!r} has {len(values_ND)} rows, and 15% of them are fewer than the {longest} steps of a row; "
            "give more, or lower data.warm_up, data.sequence_length and data.free_steps"
        )
    return names, {name: part[None] for name, part in zip(("train", "validation", "free"), cut, strict=True)}


def own_table(path: str, names: tuple[str, ...] = ()) -> tuple[tuple[str, ...], np.ndarray]:
    """Names and values [rows, variables] of a user's file; raises `UsageError` if a value is missing."""
    table = read_csv(path, columns=names)
    if np.isnan(table.values_NC).any():
        row, column = np.argwhere(np.isnan(table.values_NC))[0]
        raise UsageError(f"{path!r} has no value of {table.names[column]!r} in row {row + 1}; fill it in")
    return table.names, table.values_NC
