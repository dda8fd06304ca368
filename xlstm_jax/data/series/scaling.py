"""The codec of series: names of the columns, and the mean and standard deviation that standardise them."""

import math
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from xlstm_jax.errors import UsageError


class Scaling:
    """Standardises columns: (x - mean) / std, with mean and standard deviation of the training part.

    Args:
        names: of the columns.
        mean_C, std_C: of each column.
    """

    kind = "scaling"

    def __init__(self, names: Sequence[str], mean_C: np.ndarray, std_C: np.ndarray):
        self.names = tuple(names)
        self.mean_C, self.std_C = np.asarray(mean_C, np.float64), np.asarray(std_C, np.float64)

    @classmethod
    def of(cls, names: Sequence[str], values_NC: np.ndarray) -> Self:
        """Statistics of the given rows, without missing values; the standard deviation is that of the population.

        Raises:
            UsageError: a column has no value, or only one value.
        """
        for name, column_N in zip(names, np.asarray(values_NC, np.float64).T, strict=True):
            known_N = column_N[np.isfinite(column_N)]
            if not known_N.size or np.ptp(known_N) == 0:
                what = f"always {known_N[0]:g}" if known_N.size else "always missing"
                raise UsageError(f"column {name!r} is {what} in the training part; leave it out")
        return cls(names, np.nanmean(values_NC, axis=0), np.nanstd(values_NC, axis=0))

    def __len__(self) -> int:
        return len(self.names)

    def standardized(self, values_NC: np.ndarray) -> np.ndarray:
        """[..., columns], float32."""
        return ((np.asarray(values_NC, np.float64) - self.mean_C) / self.std_C).astype(np.float32)

    def restored(self, values_NC: np.ndarray) -> np.ndarray:
        """The inverse of `standardized`, float64."""
        return np.asarray(values_NC, np.float64) * self.std_C + self.mean_C

    def to_json(self) -> dict[str, Any]:
        numbers = {"mean": self.mean_C.tolist(), "std": self.std_C.tolist()}
        return {"kind": self.kind, "names": list(self.names), **numbers}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        data = data if isinstance(data, dict) else {}
        names, mean, std = (data.get(key) for key in ("names", "mean", "std"))
        numbers = all(
            isinstance(row, list) and all(type(x) is float and math.isfinite(x) for x in row) for row in (mean, std)
        )
        texts = isinstance(names, list) and all(isinstance(name, str) for name in names)
        if (
            data.get("kind") != cls.kind
            or not (texts and numbers and len(names) == len(mean) == len(std))
            or min(std) <= 0
        ):
            raise UsageError(f"the codec is damaged; kind {cls.kind!r} needs names, mean and std, a number per name")
        return cls(names, mean, std)
