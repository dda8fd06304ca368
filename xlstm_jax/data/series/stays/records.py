"""Records of stays in intensive care: what can be measured, and files with a line for each measurement.

A record is a text: a header, four descriptors at 00:00, then measurements in order of time, each when it was made:

    Time,Parameter,Value
    00:00,Age,54
    00:07,HR,73
"""

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.series.table import is_missing
from xlstm_jax.errors import UsageError, one_line, shown

HEADER = "Time,Parameter,Value"
DESCRIPTORS = ("Age", "Gender", "Height", "ICUType")
# What each parameter can be. Values outside, such as a heart rate of 0, a temperature of -17.8 or the -1 that the
# descriptors have for "unknown", were not measured.
POSSIBLE = {
    "Age": (0, 130),
    "Gender": (0, 1),  # female, male
    "Height": (100, 250),  # cm
    "ICUType": (1, 4),  # coronary, cardiac surgery, medical, surgical
    "ALP": (1, 10_000),
    "ALT": (1, 50_000),
    "AST": (1, 50_000),
    "Albumin": (0.5, 10),
    "BUN": (0.5, 400),
    "Bilirubin": (0.05, 100),
    "Cholesterol": (10, 1000),
    "Creatinine": (0.05, 50),
    "DiasABP": (10, 200),
    "FiO2": (0.2, 1),
    "GCS": (3, 15),
    "Glucose": (5, 2000),
    "HCO3": (1, 70),
    "HCT": (5, 80),
    "HR": (15, 300),
    "K": (1, 15),
    "Lactate": (0.05, 50),
    "MAP": (15, 250),
    "MechVent": (0, 1),
    "Mg": (0.2, 15),
    "NIDiasABP": (10, 200),
    "NIMAP": (15, 250),
    "NISysABP": (20, 300),
    "Na": (80, 200),
    "PaCO2": (5, 250),
    "PaO2": (10, 700),
    "Platelets": (1, 3000),
    "RespRate": (2, 100),
    "SaO2": (20, 100),
    "SysABP": (20, 300),
    "Temp": (25, 45),  # degrees Celsius
    "TroponinI": (0.001, 1000),
    "TroponinT": (0.001, 1000),
    "Urine": (0, 12_000),  # ml
    "WBC": (0.05, 1000),
    "Weight": (20, 400),  # kg
    "pH": (6.5, 8),
}
PARAMETERS = tuple(POSSIBLE)
RECORD_ID = -1
_NUMBERS = {name: number for number, name in enumerate(PARAMETERS)} | {"RecordID": RECORD_ID}
_MINUTES = {f"{hour:02}:{minute:02}": 60 * hour + minute for hour in range(100) for minute in range(60)}
_LOWEST, _HIGHEST = np.array(list(POSSIBLE.values()), np.float64).T


class Record(NamedTuple):
    """The measurements of one stay, in order of time; impossible values are left out."""

    minute_E: np.ndarray  # int32, since admission
    parameter_E: np.ndarray  # int32, index into PARAMETERS
    value_E: np.ndarray  # float64


def read_record(path: str | Path, number: int | None = None) -> Record:
    """The record in a file; `number` is the RecordID that it must have, if it has one.

    Raises:
        UsageError: the file cannot be read, or is damaged (`parse_record`).
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # not UTF-8, or a null byte in the path
        raise UsageError(f"cannot read {str(path)!r}: {one_line(error)}; give a record in UTF-8") from error
    return parse_record(text, repr(str(path)), number)


def parse_record(text: str, where: str = "the record", number: int | None = None) -> Record:
    """The record in a text.

    Raises:
        UsageError: a wrong header, no further line, a line that has not three cells, a time that is none or comes
            before the last one, an unknown parameter, a value that is no number, or a RecordID that is not `number`.
    """
    lines = [line.strip() for line in text.strip().split("\n")]
    if lines[0].replace(" ", "") != HEADER:
        raise UsageError(f"{where} starts with {shown(lines[0])}; the first line of a record is {HEADER}")
    if len(lines) == 1:
        raise UsageError(f"{where} has no measurements; give at least one line such as 00:07,HR,73")
    minutes, parameters, values, last = [], [], [], 0
    for place, line in enumerate(lines[1:], 2):
        try:
            time, name, cell = line.split(",")
            minute, parameter, value = _MINUTES[time], _NUMBERS[name], float(cell)
        except (ValueError, KeyError):
            minute, parameter, value = _unusual(line, f"{where} line {place}")
        if minute < last:
            raise UsageError(f"{where} line {place}: {shown(line)} comes after a later time; sort the lines by time")
        last = minute
        if parameter == RECORD_ID:
            if number is not None and value != number:
                raise UsageError(f"{where} line {place}: RecordID {value:g} is not {number}, the name of the file")
            continue
        minutes.append(minute)
        parameters.append(parameter)
        values.append(value)
    minute_E, parameter_E, value_E = np.int32(minutes), np.int32(parameters), np.float64(values)
    there_E = (value_E >= _LOWEST[parameter_E]) & (value_E <= _HIGHEST[parameter_E])
    return Record(minute_E[there_E], parameter_E[there_E], value_E[there_E])


def _unusual(line: str, where: str) -> tuple[int, int, float]:
    """Minute, parameter and value of a line with spaces or a missing value, which are rare."""
    cells = [cell.strip() for cell in line.split(",")]
    if len(cells) != 3:
        raise UsageError(f"{where}: {shown(line)} is damaged; write it like 00:07,HR,73")
    time, name, cell = cells
    if time not in _MINUTES:
        raise UsageError(f"{where}: time {shown(time)} is not allowed; must be hours and minutes, such as 00:07")
    if name not in _NUMBERS:
        raise UsageError(f"{where}: parameter {shown(name)} is unknown; known: {', '.join(PARAMETERS)}")
    try:
        return _MINUTES[time], _NUMBERS[name], math.nan if is_missing(cell) else float(cell)
    except ValueError as error:
        raise UsageError(f"{where}: {name} {shown(cell)} is not a number; correct it") from error
