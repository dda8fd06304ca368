"""Stays in intensive care, as the PhysioNet Challenge 2012 records them, and whether the patient died in hospital.

Silva et al. 2012, "Predicting in-hospital mortality of ICU patients" (Computing in Cardiology 39). Set a has 4,000
stays of 48 hours and 554 deaths, each a file (`records`).
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xlstm_jax.console import tracked
from xlstm_jax.data.archives import ARCHIVES, RemoteArchive, github_archive, unpacked
from xlstm_jax.data.series.stays.records import Record, read_record
from xlstm_jax.data.series.table import read_csv
from xlstm_jax.errors import UsageError

SET_A = "physionet2012/set-a.tar.gz"
_SOURCE, _TOP = github_archive("AbdelrahmanManz/ICU-Mortality-Predictor", "7037a4f84275e146be51bae44ceaa11e687269b8")
ARCHIVES[SET_A] = RemoteArchive(
    sources=(_SOURCE,),
    members=("set-a/", "Outcomes-a.txt"),
    size=26_468_712,
    sha256="23376c1b11b62b738444e2f3e45ed7a1b7778b96790f949f12abd1918aa68fa5",
    tops=(_TOP,),
)


class Stays(NamedTuple):
    """Labelled stays, in order of the identifiers."""

    ids: tuple[int, ...]
    records: tuple[Record, ...]
    died_N: np.ndarray  # int32, 1 for a death in hospital


def set_a() -> Stays:
    """The 4,000 stays of set a. Downloads the archive on first use."""
    return read_folder(unpacked(SET_A))


def read_folder(path: str | Path) -> Stays:
    """The stays of a folder: `Outcomes*.txt` or `.csv` with RecordID and In-hospital_death, and a file ID.txt for each.

    Records may lie in subfolders, and there may be several files of outcomes, as for sets a and b together.

    Raises:
        UsageError: outcomes or records are missing or given twice, an outcome is neither 0 nor 1, or a record is
            damaged (`parse_record`).
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UsageError(
            f"{str(path)!r} is no folder; give one with Outcomes.txt and a file RecordID.txt for each stay"
        )
    files = sorted(file for file in folder.rglob("*") if file.suffix in (".txt", ".csv") and file.is_file())
    tables = [file for file in files if file.name.lower().startswith("outcomes")]
    if not tables:
        raise UsageError(f"{str(path)!r} has no Outcomes.txt; give one with the columns RecordID and In-hospital_death")
    died = _outcomes(tables)
    records: dict[int, Path] = {}
    for file in files:
        if file in tables:
            continue
        if not (file.stem.isdecimal() and file.suffix == ".txt" and int(file.stem) in died):
            raise UsageError(f"{str(file)!r} is no record with an outcome; name it RecordID.txt, or move it away")
        if int(file.stem) in records:
            raise UsageError(
                f"record {file.stem} is there twice, as {str(records[int(file.stem)])!r} and {str(file)!r}"
            )
        records[int(file.stem)] = file
    if missing := [number for number in died if number not in records]:
        raise UsageError(f"{str(path)!r} has an outcome for stay {missing[0]}, and no record {missing[0]}.txt; add it")
    ids = tuple(sorted(died))
    read = tuple(read_record(records[number], number) for number in tracked(ids, "stays", unless=len(ids) < 1000))
    return Stays(ids, read, np.array([died[number] for number in ids], np.int32))


def _outcomes(tables: Sequence[Path]) -> dict[int, int]:
    died: dict[int, int] = {}
    for file in tables:
        for line, (number, outcome) in enumerate(
            read_csv(file, columns=("RecordID", "In-hospital_death")).values_NC, 2
        ):
            where = f"{str(file)!r} line {line}"
            if not (number >= 0 and float(number).is_integer()):
                raise UsageError(f"{where}: RecordID {number:g} is not allowed; must be an integer, at least 0")
            if outcome not in (0, 1):
                raise UsageError(f"{where}: In-hospital_death {outcome:g} is not allowed; must be 0 or 1")
            if int(number) in died:
                raise UsageError(f"{where}: RecordID {int(number)} is there twice; keep one line for each stay")
            died[int(number)] = int(outcome)
    return died
