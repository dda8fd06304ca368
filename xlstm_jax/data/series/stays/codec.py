"""Stays in intensive care as rows of equal steps: values, a mask and gaps; and their codec."""

import math
from typing import Any, Self

import numpy as np

from xlstm_jax.data.series.scaling import Scaling
from xlstm_jax.data.series.stays.records import DESCRIPTORS, HEADER, PARAMETERS, POSSIBLE, Record
from xlstm_jax.errors import UsageError

WINDOW = 48.0  # hours from admission; later measurements are left out
FARTHEST = 5.0  # standard deviations from the mean; values beyond are moved there

UNITS = tuple(f"ICUType={number}" for number in range(1, 5))  # one column each
VARIABLES = (*DESCRIPTORS[:-1], *UNITS, *PARAMETERS[len(DESCRIPTORS) :])
# Skewed parameters, which are read as log(1 + value).
SKEWED = (
    *("ALP", "ALT", "AST", "BUN", "Bilirubin", "Cholesterol", "Creatinine", "Glucose", "Lactate", "PaCO2", "PaO2"),
    *("Platelets", "TroponinI", "TroponinT", "Urine", "WBC", "Weight"),
)
_SKEWED_P = np.isin(PARAMETERS, SKEWED)
_SKEWED_F = np.isin(VARIABLES, SKEWED)
_ICU = PARAMETERS.index("ICUType")
# The column of each parameter; that of the ICU's type is the first of four.
_COLUMN_P = np.array([VARIABLES.index(UNITS[0] if name == "ICUType" else name) for name in PARAMETERS])


def steps_of(hours: float) -> int:
    """Number of steps of `hours` each in the window."""
    return math.ceil(WINDOW / hours)


def binned(record: Record, hours: float) -> np.ndarray:
    """Means of the measurements within each step, [T, F], float64; NaN where there are none.

    Skewed parameters are read as logarithms. The type of the ICU becomes four columns with 0 or 1.
    """
    here_E = record.minute_E <= 60 * WINDOW
    minute_E, parameter_E, value_E = (part[here_E] for part in record)
    value_E = np.where(_SKEWED_P[parameter_E], np.log1p(value_E), value_E)
    step_E = np.minimum(minute_E / (60 * hours), steps_of(hours) - 1).astype(np.int64)
    place_E = step_E * len(VARIABLES) + _COLUMN_P[parameter_E]
    size = steps_of(hours) * len(VARIABLES)
    sums, counts = np.bincount(place_E, value_E, size), np.bincount(place_E, minlength=size)
    values_TF = np.where(counts, sums / np.maximum(counts, 1), np.nan).reshape(-1, len(VARIABLES))
    first = _COLUMN_P[_ICU]
    kind_T = values_TF[:, first].copy()
    for place in range(len(UNITS)):
        values_TF[:, first + place] = np.where(np.isnan(kind_T), np.nan, kind_T == place + 1)
    return values_TF


class StayCodec:
    """Records to rows of standardised values, masks and gaps.

    Args:
        hours: length of a step.
        scaling: mean and standard deviation of each variable, after the logarithm.
        deaths: share of deaths among the training stays.
    """

    kind = "stays"

    def __init__(self, hours: float, scaling: Scaling, deaths: float):
        self.hours, self.scaling, self.deaths = hours, scaling, deaths

    @classmethod
    def of(cls, hours: float, values_NTF: np.ndarray, died_N: np.ndarray) -> Self:
        """The codec of training stays, from their `binned` values.

        A variable that does not vary, such as MechVent, which is 1 whenever it is recorded, is 1 where it is measured.

        Raises:
            UsageError: no variable varies.
        """
        flat = values_NTF.reshape(-1, values_NTF.shape[-1])
        known = np.isfinite(flat)
        count_F = np.maximum(known.sum(axis=0), 1)
        mean_F = np.where(known, flat, 0).sum(axis=0) / count_F
        std_F = np.sqrt(np.where(known, np.square(flat - mean_F), 0).sum(axis=0) / count_F)
        varies_F = std_F > 1e-9 * np.abs(mean_F)
        if not varies_F.any():
            raise UsageError("every variable is constant or missing in the training stays; give stays that differ")
        same_F = np.where(mean_F == 0, 1, np.abs(mean_F))
        scaling = Scaling(VARIABLES, np.where(varies_F, mean_F, 0), np.where(varies_F, std_F, same_F))
        return cls(hours, scaling, float(died_N.mean()))

    def to_json(self) -> dict[str, Any]:
        return {"kind": self.kind, "hours": self.hours, "scaling": self.scaling.to_json(), "deaths": self.deaths}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        data = data if isinstance(data, dict) else {}
        hours, deaths = data.get("hours"), data.get("deaths")
        numbers = all(type(x) is float and math.isfinite(x) for x in (hours, deaths))
        if data.get("kind") != cls.kind or not numbers or not 0 < hours <= WINDOW:
            raise UsageError(f"the codec is damaged; kind {cls.kind!r} needs hours, scaling, and deaths, a share")
        scaling = Scaling.from_json(data.get("scaling"))
        if scaling.names != VARIABLES:
            raise UsageError(f"the codec is damaged; its scaling must be of the {len(VARIABLES)} variables of a stay")
        return cls(hours, scaling, deaths)

    def encode(self, values_TF: np.ndarray) -> np.ndarray:
        """Inputs [..., T, 3 F], float32, of `binned` values [..., T, F]: x, m and d side by side.

        x is the last measured value up to a step, standardised, and 0, the mean, before the first one; m is 1 where a
        value was measured within the step, else 0; d is the time in days since the last step before it in which the
        variable was measured, or since admission.
        """
        time = values_TF.shape[-2]
        known = np.isfinite(values_TF)
        step = np.arange(time)[:, None]
        last = np.maximum.accumulate(np.where(known, step, -1), axis=-2)  # -1: not measured yet
        scaled = np.clip(self.scaling.standardized(values_TF), -FARTHEST, FARTHEST)
        x = np.where(last < 0, 0, np.take_along_axis(scaled, np.maximum(last, 0), axis=-2))
        before = np.concatenate([np.zeros_like(last[..., :1, :]), np.maximum(last, 0)[..., :-1, :]], axis=-2)
        days = (step - before) * (self.hours / 24)
        return np.concatenate([x, known, days], axis=-1, dtype=np.float32, casting="unsafe")

    def values(self, x_TF: np.ndarray) -> np.ndarray:
        """Standardised values [..., F] in their own units, float64."""
        values_TF = self.scaling.restored(x_TF)
        return np.where(_SKEWED_F, np.expm1(values_TF), values_TF)

    def decode(self, inputs_TD: np.ndarray) -> str:
        """A record with the measurements of one row of inputs, each at the beginning of its step."""
        x_TF, m_TF, _ = np.split(inputs_TD, 3, axis=-1)
        values_TF, lines = self.values(x_TF), [HEADER]
        for step, variable in zip(*np.nonzero(m_TF), strict=True):
            name, value = VARIABLES[variable], values_TF[step, variable]
            if name in UNITS:
                if value < 0.5:
                    continue
                name, value = name.split("=")
            minute = math.ceil(step * self.hours * 60)
            lines.append(f"{minute // 60:02}:{minute % 60:02},{name},{np.clip(float(value), *POSSIBLE[name])}")
        return "\n".join(lines)
