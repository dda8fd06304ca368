"""The figure of a series and its continuation."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def draw_continuation(
    axes: Any, known_TD: np.ndarray, continued_KD: np.ndarray, names: Sequence[str], unit: str = "steps"
) -> None:
    """Draws D known variables and, dashed, their continuation on Matplotlib axes; the present is 0."""
    steps = np.arange(1 - len(known_TD), len(continued_KD) + 1)
    for number, name in enumerate(names):
        line_K = [known_TD[-1, number], *continued_KD[:, number]]
        axes.plot(steps[: len(known_TD)], known_TD[:, number], color=f"C{number}", lw=1, label=name)
        axes.plot(steps[len(known_TD) - 1 :], line_K, color=f"C{number}", lw=1.3, ls="--")
    axes.axvline(0, color="black", lw=0.8)
    axes.set_xlabel(f"{unit} from the present")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")
