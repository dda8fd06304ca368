"""Stays in intensive care as rows of equal steps: values, a mask and gaps; folds, batches and the codec."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from xlstm_jax.data.batches import ENDLESS, generator
from xlstm_jax.data.series.scaling import Scaling
from xlstm_jax.data.series.stays.physionet import DESCRIPTORS, HEADER, PARAMETERS, POSSIBLE, Record
from xlstm_jax.errors import UsageError

WINDOW = 48.0  # hours from admission; later measurements are left out
FOLDS, VALIDATION = 5, 10  # parts of all stays; parts of the rest of a fold, of which one is for validation
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


class Stays(NamedTuple):
    """A batch of stays."""

    inputs_BTD: np.ndarray  # float32, D = 3 F: values, mask and gaps of the F variables, as in `StayCodec.encode`
    died_B: np.ndarray  # float32, 1 for a death in hospital
    lengths_B: np.ndarray  # int32, 0 in rows that only fill up a batch
    row_B: np.ndarray  # int32, the stay's number among all stays


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


def fold_parts(died_N: np.ndarray, fold: int) -> dict[str, np.ndarray]:
    """Numbers of the stays of each split: "train", "validation" and "test".

    The test split of a fold is a fifth of all stays, and the validation split a tenth of the others. All have the same
    share of deaths, up to rounding. They are the same in every run, and each stay is in the test split of one fold.

    Raises:
        UsageError: a split has no death, or only deaths.
    """
    place_N = np.zeros(len(died_N), np.int64)
    for label in (0, 1):
        members = np.flatnonzero(died_N == label)
        place_N[generator(0, label).permutation(members)] = np.arange(len(members))
    test_N = place_N % FOLDS == fold
    validation_N = ~test_N & (place_N // FOLDS % VALIDATION == 0)
    parts = {"train": ~test_N & ~validation_N, "validation": validation_N, "test": test_N}
    for name, part in parts.items():
        if len(set(died_N[part].tolist())) < 2:
            raise UsageError(
                f"split {name!r} of fold {fold} has {int(died_N[part].sum())} deaths among {int(part.sum())} stays; "
                f"give at least {2 * FOLDS} stays with In-hospital_death 1, and {2 * FOLDS} with 0"
            )
    return {name: np.flatnonzero(part) for name, part in parts.items()}


class StayRows(NamedTuple):
    """All stays, encoded."""

    inputs_NTD: np.ndarray
    died_N: np.ndarray

    def batch(self, row_B: np.ndarray) -> Stays:
        """The stays with these numbers; -1 stands for a row that only fills up the batch."""
        there_B = row_B >= 0
        lengths_B = np.where(there_B, self.inputs_NTD.shape[1], 0).astype(np.int32)
        died_B = self.died_N[row_B].astype(np.float32) * there_B
        inputs_BTD = self.inputs_NTD[row_B] * there_B[:, None, None].astype(np.float32)
        return Stays(inputs_BTD, died_B, lengths_B, np.where(there_B, row_B, len(self.died_N)).astype(np.int32))


class TrainStays:
    """Endless random-access source. Each epoch has every stay once, in random order, but for those that fill no batch.

    Args:
        rows: all stays.
        chosen: the numbers of those to read.
        batch_size: rows of the global batch.
        seed: of the order.
        part: the rows of each global batch that this process reads.

    Raises:
        UsageError: there are fewer stays than fill one batch.
    """

    def __init__(self, rows: StayRows, chosen: np.ndarray, *, batch_size: int, seed: int, part: slice):
        if len(chosen) < batch_size:
            raise UsageError(f"data.batch_size {batch_size} is more than the {len(chosen)} training stays; lower it")
        self._rows, self._chosen, self._size = rows, chosen, batch_size
        self._seed, self._part = seed, part

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Stays:
        epoch, number = divmod(index, len(self._chosen) // self._size)
        order = generator(self._seed, epoch).permutation(self._chosen)
        return self._rows.batch(order[number * self._size : (number + 1) * self._size][self._part])


class EvaluationStays:
    """Random-access source of stays in order, each once. Empty rows fill up the last batch."""

    def __init__(self, rows: StayRows, chosen: Sequence[int], *, batch_size: int, part: slice):
        self._rows, self._size, self._part = rows, batch_size, part
        self._numbers = np.pad(chosen, (0, -len(chosen) % batch_size), constant_values=-1)

    def __len__(self) -> int:
        return len(self._numbers) // self._size

    def __getitem__(self, index: int) -> Stays:
        return self._rows.batch(self._numbers[index * self._size : (index + 1) * self._size][self._part])
