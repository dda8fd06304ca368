"""Records as they are written, and what is refused."""

import numpy as np
import pytest

from xlstm_jax.data.series.stays.records import PARAMETERS, parse_record
from xlstm_jax.errors import UsageError

RECORD = (
    "Time,Parameter,Value\n00:00,RecordID,7\n00:00,Age,54\n00:00,Height,-1\n00:07,HR,73\n01:37,pH,735\n47:59,HR,80\n"
)


def of(record, name):
    return record.value_E[record.parameter_E == PARAMETERS.index(name)].tolist()


def test_a_record_by_hand():
    """What is unknown or impossible was not measured; a missing value and spaces are allowed."""
    record = parse_record(RECORD + "48:00 , Temp , NA\n48:00,HR,0\n", number=7)
    assert record.minute_E.tolist() == [0, 7, 2879]
    assert [PARAMETERS[number] for number in record.parameter_E] == ["Age", "HR", "HR"]
    assert of(record, "HR") == [73, 80] and record.value_E.dtype == np.float64
    windows = parse_record(RECORD.replace("\n", "\r\n"))
    assert all(map(np.array_equal, windows, parse_record(RECORD)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "^x starts with ''; the first line of a record is Time,Parameter,Value$"),
        ("Hour,Parameter,Value\n00:00,HR,3", "^x starts with 'Hour,Parameter,Value'; the first line"),
        ("Time,Parameter,Value\n", "^x has no measurements; give at least one line such as 00:07,HR,73$"),
        (RECORD + "47:59,HR", "^x line 8: '47:59,HR' is damaged; write it like 00:07,HR,73$"),
        (RECORD + "48:60,HR,3", "^x line 8: time '48:60' is not allowed; must be hours and minutes, such as 00:07$"),
        (RECORD + "48:00,Pulse,3", "^x line 8: parameter 'Pulse' is unknown; known: Age, Gender, .*, pH$"),
        (RECORD + "48:00,HR,fast", "^x line 8: HR 'fast' is not a number; correct it$"),
        (RECORD + "47:00,HR,3", "^x line 8: '47:00,HR,3' comes after a later time; sort the lines by time$"),
        (RECORD.replace(",7\n", ",8\n", 1), "^x line 2: RecordID 8 is not 7, the name of the file$"),
    ],
)
def test_damaged_records(text, message):
    with pytest.raises(UsageError, match=message) as caught:
        parse_record(text, "x", 7)
    assert "\n" not in str(caught.value)
