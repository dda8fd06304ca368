"""Figures of classified series: channels as lines, or an image."""

import numpy as np
import pytest

from xlstm_jax.data.series.classes.codec import draw

pytest.importorskip("matplotlib")
ANSWER = {"label": "up", "probabilities": {"up": 0.75, "down": 0.25}}


def drawn(values_TC, **options):
    from matplotlib.figure import Figure

    axes = Figure().add_subplot()
    draw(axes, values_TC, [f"c{number}" for number in range(values_TC.shape[1])], ANSWER, **options)
    assert axes.get_xlabel() == "class up, probability 0.75"
    return axes


def test_channels_are_lines():
    """With a legend for a few of them."""
    values_TC = np.random.default_rng(0).standard_normal((7, 2))
    axes = drawn(values_TC)
    np.testing.assert_array_equal([line.get_ydata() for line in axes.lines], values_TC.T)
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["c0", "c1"]
    assert drawn(values_TC[:, :1]).get_legend() is None and drawn(np.zeros((7, 9))).get_legend() is None


def test_pixels_are_an_image():
    axes = drawn(np.arange(16.0)[:, None], side=4)
    np.testing.assert_array_equal(axes.images[0].get_array(), np.arange(16.0).reshape(4, 4))
    assert not axes.lines
