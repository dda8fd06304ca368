"""Stays of the Challenge 2012: folders of one's own, and what is refused."""

import numpy as np
import pytest

from tests.mirror import needs_mirror
from xlstm_jax.data.series.stays.physionet import read_folder, set_a
from xlstm_jax.data.series.stays.records import PARAMETERS
from xlstm_jax.errors import UsageError

RECORD = (
    "Time,Parameter,Value\n00:00,RecordID,7\n00:00,Age,54\n00:00,Height,-1\n00:07,HR,73\n01:37,pH,735\n47:59,HR,80\n"
)


def of(record, name):
    return record.value_E[record.parameter_E == PARAMETERS.index(name)].tolist()


def write(folder, outcomes="RecordID,SOFA,In-hospital_death\n7,1,0\n8,2,1\n", records=(7, 8)):
    (folder / "set").mkdir(parents=True)
    (folder / "Outcomes-x.txt").write_text(outcomes)
    for number in records:
        (folder / "set" / f"{number}.txt").write_text(RECORD.replace("RecordID,7", f"RecordID,{number}"))
    return folder


def test_a_folder_of_ones_own(tmp_path):
    stays = read_folder(write(tmp_path / "data"))
    assert stays.ids == (7, 8) and stays.died_N.tolist() == [0, 1] and len(stays.records) == 2
    assert of(stays.records[1], "HR") == [73, 80]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda folder: (folder / "Outcomes-x.txt").unlink(),
            "has no Outcomes.txt; give one with the columns RecordID",
        ),
        (lambda folder: (folder / "Outcomes-x.txt").write_text("RecordID\n7\n"), "has no column 'In-hospital_death'"),
        (lambda folder: (folder / "set" / "8.txt").unlink(), "has an outcome for stay 8, and no record 8.txt; add it"),
        (lambda folder: (folder / "9.txt").write_text(RECORD), "'.*9.txt' is no record with an outcome; name it"),
        (lambda folder: (folder / "8.txt").write_text(RECORD), "record 8 is there twice, as '.*8.txt' and '.*8.txt'"),
        (lambda folder: (folder / "set" / "8.txt").write_bytes(b"\xff"), "cannot read '.*8.txt'.*; give a record in"),
        (lambda folder: (folder / "set" / "8.txt").write_text(""), "8.txt' starts with ''; the first line of a record"),
    ],
)
def test_a_folder_that_cannot_be(tmp_path, change, message):
    folder = write(tmp_path / "data")
    change(folder)
    with pytest.raises(UsageError, match=message) as caught:
        read_folder(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("7,2", "line 2: In-hospital_death 2 is not allowed; must be 0 or 1"),
        ("7,", "line 2: In-hospital_death nan is not allowed; must be 0 or 1"),
        ("7.5,0", "line 2: RecordID 7.5 is not allowed; must be an integer, at least 0"),
        ("7,0\n7,1", "line 3: RecordID 7 is there twice; keep one line for each stay"),
        ("seven,0", "line 2: RecordID 'seven' is not a number"),
    ],
)
def test_outcomes_that_cannot_be(tmp_path, rows, message):
    with pytest.raises(UsageError, match=message):
        read_folder(write(tmp_path / "data", f"RecordID,In-hospital_death\n{rows}\n"))


def test_no_folder(tmp_path):
    with pytest.raises(UsageError, match=r"is no folder; give one with Outcomes\.txt and a file RecordID\.txt"):
        read_folder(tmp_path / "none")


@pytest.mark.slow
@needs_mirror("physionet2012/")
def test_set_a():
    """Its published size and deaths; nothing impossible is left."""
    stays = set_a()
    assert len(stays.ids) == 4000 and stays.died_N.sum() == 554
    assert min(len(record.value_E) for record in stays.records) >= 3  # descriptors alone
    assert max(record.minute_E[-1] for record in stays.records) <= 48 * 60
    values = np.concatenate([record.value_E for record in stays.records])
    assert values.min() >= 0
