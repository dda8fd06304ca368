"""Figures of pictures with captions, and of where a decoder looks while it writes each word."""

import math
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np

COLUMNS = 8  # words in a line
WIDTH = 34  # letters in a line under the picture
SHOWN = 0.35  # share of its brightness that a place keeps that is not looked at


def draw(
    axes: Any, picture_HWC: np.ndarray, caption: str, words: Sequence[str], attention: Sequence[Sequence[Sequence]]
) -> None:
    """Draws a picture and its caption, and to the right of it a panel for each word.

    Args:
        axes: Matplotlib's, which the panels divide.
        picture_HWC: uint8.
        caption: of the picture.
        words: of the caption.
        attention: of each word, the weights of a grid of places over the picture.
    """
    axes.set_axis_off()
    left = 0.3 if words else 1.0
    whole = axes.inset_axes((0, 0.2, left, 0.8))
    _show(whole, picture_HWC)
    axes.text(left / 2, 0.16, "\n".join(textwrap.wrap(caption, WIDTH)), ha="center", va="top", fontsize=9)
    if not words:
        return
    lines = max(2, math.ceil(len(words) / COLUMNS))
    wide, high = (1 - left - 0.03) / COLUMNS, 1 / lines
    most = max(np.max(attention), 1e-6)
    for number, (word, weights_XY) in enumerate(zip(words, attention, strict=True)):
        line, column = divmod(number, COLUMNS)
        place = (left + 0.03 + column * wide, 1 - (line + 1) * high, 0.94 * wide, 0.86 * high)
        panel = axes.inset_axes(place)
        _show(panel, picture_HWC)
        height, width = picture_HWC.shape[:2]
        extent = (-0.5, width - 0.5, height - 0.5, -0.5)
        weights_XY = np.asarray(weights_XY) / most
        panel.imshow(np.ones_like(weights_XY), extent=extent, cmap="inferno", alpha=0.75 * weights_XY, vmin=0, vmax=1.2)
        panel.set_title(word, fontsize=7, pad=2)


def _show(axes: Any, picture_HWC: np.ndarray) -> None:
    axes.imshow(picture_HWC)
    axes.set_xticks([])
    axes.set_yticks([])
