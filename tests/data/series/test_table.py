"""CSV tables: what is read, and what is refused in one line."""

import numpy as np
import pytest

from xlstm_jax.data.series.forecasts.columns import Columns, Roles
from xlstm_jax.data.series.scaling import Scaling
from xlstm_jax.data.series.table import Table, read_csv
from xlstm_jax.errors import UsageError

GOOD = "date,load,heat\n2020-01-01,1,2\n2020-01-02 00:00:00,3,\n2020-01-05T12:30:00Z,5,-6e2\n"


@pytest.fixture
def write(tmp_path):
    def write(text, encoding="utf-8"):
        (tmp_path / "table.csv").write_bytes(text.encode(encoding))
        return tmp_path / "table.csv"

    return write


@pytest.mark.parametrize(
    "text", [GOOD, GOOD.replace(",", ";"), GOOD.replace(",", "\t"), "\ufeff" + GOOD, GOOD.replace("\n", "\r\n")]
)
def test_columns_and_dates(write, text):
    table = read_csv(write(text), time="date")
    assert table.names == ("load", "heat")
    np.testing.assert_array_equal(table.values_NC, [[1, 2], [3, np.nan], [5, -600]])
    assert [str(time) for time in table.times_N] == [
        "2020-01-01T00:00:00",
        "2020-01-02T00:00:00",
        "2020-01-05T12:30:00",
    ]
    for missing in ("NA", "n/a", " NaN ", "null", "?"):
        again = read_csv(write(text.replace("-6e2", missing)), time="date")
        np.testing.assert_array_equal(again.values_NC, [[1, 2], [3, np.nan], [5, np.nan]])
    chosen = read_csv(write(text), columns=("heat",))
    assert chosen.times_N is None and chosen.values_NC.shape == (3, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n", "has no rows"),
        ("", "has no rows"),
        ("date\n2020-01-01\n", "has no column but 'date'; give one with numbers"),
        ("date,a,a\n2020-01-01,1,2\n", "two columns named 'a'"),
        ("date,load\n2020-01-01,1,2\n", "line 2 has 3 cells, and the header 2"),
        ("date,load\n2020-01-01,1\n\n2020-01-02,x\n", "line 4: load 'x' is not a number"),
        ("date,load\n2020-01-01,inf\n", "load 'inf' is not finite"),
        ("date,load\n01.02.2020,1\n", "line 2: '01.02.2020' is not a date; write it like"),
        (
            "date,load\n2020-01-02,1\n2020-01-01,1\n",
            "line 3: 2020-01-01 00:00:00 does not come after 2020-01-02 00:00:00; sort",
        ),
        ("date,load\n2020-01-02,1\n2020-01-02,1\n", "line 3: .* does not come after"),
        ("day,load\n2020-01-02,1\n", "no column 'date'; it has 'day, load'"),
        ('date,load\n2020-01-01,"1\n', "is not a CSV file"),
    ],
)
def test_refused(write, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_csv(write(text), time="date")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(write, tmp_path):
    for path in (tmp_path / "none.csv", tmp_path, write("date,caf\xe9\n", "latin-1")):
        with pytest.raises(UsageError, match=r"cannot read .*; give a CSV file in UTF-8"):
            read_csv(path)


TABLE = Table(("a", "b", "c"), np.array([[1.0, 5, 0], [2, np.nan, 1], [3, 7, 0], [9, 1, 1]]), None)


def test_scaling_of_known_values_and_back():
    scaling = Scaling.of(TABLE.names, TABLE.values_NC)
    np.testing.assert_allclose(scaling.mean_C[:2], [3.75, 13 / 3])
    np.testing.assert_allclose(scaling.std_C[1], np.std([5, 7, 1]))
    again = Scaling.from_json(scaling.to_json())
    np.testing.assert_allclose(
        again.restored(scaling.standardized(TABLE.values_NC)), TABLE.values_NC, rtol=1e-6, atol=1e-6
    )
    for damaged in ({}, None, {**scaling.to_json(), "std": [0.0] * 3}, {**scaling.to_json(), "mean": ["1"] * 3}):
        with pytest.raises(UsageError, match="codec is damaged"):
            Scaling.from_json(damaged)


def test_missing_values_are_the_last_ones_and_not_scored():
    columns = Columns.of(TABLE, Roles(("b",), ("a",), ("c",)), train=4, calendar=False)
    series = columns.series(TABLE, fill=True)
    np.testing.assert_array_equal(series.observed_NC[:, 0], [True, False, True, True])
    assert series.read_NF[1, 0] == series.read_NF[0, 0] and series.known_NK.shape == (4, 1)
    with pytest.raises(
        UsageError, match=r"1 values are missing, the first in column 'b' at row 2; fill them in, or set"
    ):
        columns.series(TABLE, fill=False)
    np.testing.assert_allclose(columns.targets(series.read_NF[:, :1])[:, 0], [5, 5, 7, 1], rtol=1e-6)
    again = Columns.from_json(columns.to_json())
    assert again.roles == columns.roles and again.step == 0 and again.known_count == 1 and again.read_count == 2
    with pytest.raises(UsageError, match="codec is damaged"):
        Columns.from_json({**columns.to_json(), "targets": ["other"]})


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        (Roles(("d",)), "no column 'd'; the columns are 'a, b, c'"),
        (Roles(("a",), ("a",)), "column 'a' is named twice"),
        (Roles((), ("a", "b", "c")), "every column has another part"),
        (Roles(("a",)), "data.calendar needs dates"),
    ],
)
def test_roles_that_cannot_be(roles, message):
    with pytest.raises(UsageError, match=message):
        Columns.of(TABLE, roles, train=4, calendar=message.startswith("data.calendar"))


def test_a_constant_column_is_refused():
    table = TABLE._replace(values_NC=np.where(np.arange(3) == 2, 4.0, TABLE.values_NC))
    with pytest.raises(UsageError, match="column 'c' is always 4 in the training part; leave it out"):
        Columns.of(table, Roles(()), train=4, calendar=False)
