"""Figures of continuations: where the present is, by number and by date."""

import numpy as np
import pytest

from xlstm_jax.data.series.continuation import draw_continuation

pytest.importorskip("matplotlib")


def drawn(*arguments, **options):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    draw_continuation(axes, *arguments, **options)
    return axes


def test_lines_meet_at_the_present():
    known_TC, following_HC = np.arange(6.0).reshape(3, 2), np.arange(8.0).reshape(4, 2)
    axes = drawn(("a", "b"), known_TC, following_HC, unit="hours")
    *lines, present = axes.lines
    assert [line.get_xdata().tolist() for line in lines[:2]] == [[-2, -1, 0], [0, 1, 2, 3, 4]]
    assert [line.get_ydata()[:2].tolist() for line in lines[1::2]] == [[4, 0], [5, 1]]
    assert present.get_xdata() == [0, 0] and axes.get_xlabel() == "hours from the present"
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["a", "b"] and not axes.collections


def test_dates_and_a_band():
    times_S = np.datetime64("2020-01-01") + np.arange(5)
    following_HC = np.ones((2, 1))
    axes = drawn(("a",), np.zeros((3, 1)), following_HC, times_S=times_S, band=(following_HC - 1, following_HC + 1))
    np.testing.assert_array_equal(axes.lines[1].get_xdata(), times_S[2:])
    assert len(axes.collections) == 1 and axes.get_xlabel() == ""
    low, high = axes.collections[0].get_paths()[0].get_extents().intervaly
    assert (low, high) == (0, 2)


def test_many_series_have_no_legend():
    names = [str(number) for number in range(11)]
    assert drawn(names, np.zeros((3, 11)), np.zeros((2, 11))).get_legend() is None
