"""Files of one's own: what is read, and one clear line for what cannot be."""

import numpy as np
import pytest

from xlstm_jax.data.series.anomalies.monitored import Channels, checked, read_file, read_own
from xlstm_jax.errors import UsageError

X = np.random.default_rng(0).standard_normal((240, 2)).round(3)


def write(path, values=X, header="when,a,b,odd", odd=lambda row: int(row >= 200)):
    lines = [
        f"2020-01-{1 + row // 24:02} {row % 24:02}:00,{','.join(map(str, cells))},{odd(row)}"
        for row, cells in enumerate(values.tolist())
    ]
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


def test_a_folder_of_files(tmp_path):
    """In the order of names, with the columns of the first one, and labels."""
    write(tmp_path / "2.csv", X + 1, "when,b,a,odd")
    write(tmp_path / "1.csv")
    channels, (one, two) = read_own(str(tmp_path), time="when", label="odd", calibration=0)
    assert channels.names == ("a", "b") and one.calibration == 36 and one.anomalous_N.sum() == 40
    np.testing.assert_array_equal(one.values_NC, X)
    np.testing.assert_array_equal(two.values_NC, (X + 1)[:, ::-1])
    assert str(one.times_N[25]) == "2020-01-02T01:00:00"
    assert read_file(tmp_path / "1.csv", time="when", label="", calibration=50, channels=("b",)).values_NC.shape == (
        240,
        1,
    )


def test_a_single_channel_may_have_another_name(tmp_path):
    path = tmp_path / "cpu.csv"
    path.write_text("load\n" + "\n".join(map(str, X[:, 0])) + "\n")
    one = read_file(path, time="", label="", calibration=0, channels=("value",))
    np.testing.assert_array_equal(one.values_NC[:, 0], X[:, 0])
    assert one.times_N is None and one.anomalous_N is None


def test_channels_survive_json():
    assert Channels.from_json(Channels("ab").to_json()).names == ("a", "b")
    for data in (None, {"kind": "channels"}, {"kind": "channels", "names": []}, {"kind": "labels", "names": ["a"]}):
        with pytest.raises(UsageError, match="the codec is damaged; kind 'channels' needs names"):
            Channels.from_json(data)


HOLE, STILL = X.copy(), X.copy()
HOLE[7, 1] = np.nan
STILL[:36, 0] = 5


@pytest.mark.parametrize(
    ("values", "calibration", "message"),
    [
        (HOLE, 0, "'x': b is missing in row 8 of the data; fill it in, or leave the row out"),
        (STILL, 0, "'x': a is always 5 in the first 36 rows, so that nothing normal can be learned"),
        (X[:100], 0, "'x' has 100 rows, too few to calibrate on the first 15; give at least 214, or set data.calib"),
        (X[:60], 60, "'x' has 60 rows, too few to calibrate on the first 60; give at least 61, or set data.calib"),
    ],
)
def test_series_that_cannot_be(values, calibration, message):
    with pytest.raises(UsageError, match=message) as caught:
        checked("x", None, values, calibration, ("a", "b"))
    assert "\n" not in str(caught.value)
    checked("x", None, STILL, 40, ("a", "b"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"time": "date"}, "has no column 'date'; it has 'when, a, b, odd'"),
        ({"time": ""}, "line 2: when '2020-01-01 00:00' is not a number"),
        ({"label": "fault"}, "has no column 'fault'; it has 'a, b, odd'"),
        ({"label": "a"}, "column 'a' must be 1 in anomalous rows and 0 in all others"),
        ({"channels": ("a", "c")}, "has no column 'c'; it has 'a, b, odd'"),
    ],
)
def test_columns_that_are_not_there(tmp_path, options, message):
    path = write(tmp_path / "1.csv")
    with pytest.raises(UsageError, match=message) as caught:
        read_file(path, **{"time": "when", "label": "odd", "calibration": 0, **options})
    assert "\n" not in str(caught.value)


def test_files_that_are_damaged(tmp_path):
    path = write(tmp_path / "1.csv")
    lines = path.read_text().split("\n")
    for content, message in (
        ([*lines[:9], lines[8], *lines[9:]], r"line 10: 2020-01-01 07:00:00 does not come after 2020-01-01 07:00:00"),
        ([*lines[:9], "2020-01-01 08:00,1,2", *lines[9:]], "line 10 has 3 cells, and the header 4"),
        ([lines[0]], "has no rows; give a header and a row per time step"),
    ):
        path.write_text("\n".join(content))
        with pytest.raises(UsageError, match=message):
            read_own(str(path), time="when", label="odd", calibration=0)
    (tmp_path / "empty").mkdir()
    for name, message in (("empty", "has no CSV file; put a file per series into it"), ("none.csv", "cannot read")):
        with pytest.raises(UsageError, match=message):
            read_own(str(tmp_path / name), time="when", label="", calibration=0)
