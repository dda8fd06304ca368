"""Draw docs/figures/family.svg, the family tree of cells: python docs/figures/family.py"""

from pathlib import Path
from typing import NamedTuple

import matplotlib
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

YEARS = (1990, 1997, 1999, 2000, 2013, 2014, 2015, 2016, 2018, 2024)
COLUMN, HEIGHT, PAD, CHARACTER = 1.0, 0.66, 0.06, 0.085  # in columns and rows
SEQUENTIAL, PARALLEL, SHAPED = "#a9cdec", "#aadba4", "#f2c891"
LEGEND = {SEQUENTIAL: "feeds its output back", PARALLEL: "parallel over time", SHAPED: "maps, trees"}
# A grey that is visible on white and on black.
LINE, TEXT = "#808890", "#15181b"


class Box(NamedTuple):
    """One cell, or several in one box, with one or more lines of names."""

    names: str  # as in `CELLS`
    year: int
    row: float
    parent: str | None
    colour: str = SEQUENTIAL

    @property
    def lines(self) -> list[str]:
        return self.names.split("\n")

    @property
    def left(self) -> float:
        return COLUMN * YEARS.index(self.year)

    @property
    def right(self) -> float:
        return self.left + 2 * PAD + CHARACTER * max(map(len, self.lines))


BOXES = (
    Box("rglru", 2024, 0, "rnn", PARALLEL),
    Box("mingru", 2024, 1, "gru", PARALLEL),
    Box("gru", 2014, 2, "lstm"),
    Box("mgu", 2016, 2, "gru"),
    Box("grud", 2018, 2.5, "gru"),
    Box("minlstm", 2024, 3, "lstm", PARALLEL),
    Box("rnn", 1990, 4, None),
    Box("lstm_1997", 1997, 4, "rnn"),
    Box("lstm", 1999, 4, "lstm_1997"),
    Box("slstm", 2024, 4, "lstm"),
    Box("mlstm", 2024, 5, "lstm", PARALLEL),
    Box("lstm_ln", 2016, 6, "lstm"),
    Box("convlstm", 2015, 7, "lstm", SHAPED),
    Box("treelstm_childsum", 2015, 8, "lstm", SHAPED),
    Box("treelstm_nary", 2015, 9, "lstm", SHAPED),
    Box("rntn", 2013, 1, "rnn", SHAPED),
    Box("lstm_projected", 2014, 10, "lstm"),
    Box("lstm_peephole", 2000, 11.3, "lstm"),
    Box("lstm_nig lstm_nfg lstm_nog\nlstm_niaf lstm_noaf\nlstm_cifg lstm_fgr", 2015, 11.3, "lstm_peephole"),
)


def draw(path: Path) -> None:
    """Draws the tree, with time from left to right."""
    figure = Figure(figsize=(9.6, 6.2))
    axes = figure.add_axes((0, 0, 1, 1))
    boxes = {box.names: box for box in BOXES}
    for box in BOXES:
        height = HEIGHT + 0.5 * (len(box.lines) - 1)
        corner = (box.left, box.row - height / 2)
        axes.add_patch(Rectangle(corner, box.right - box.left, height, color=box.colour, linewidth=0, zorder=2))
        middle = (box.left + box.right) / 2
        axes.text(middle, box.row, "\n".join(box.lines), color=TEXT, ha="center", va="center", fontsize=9.4, zorder=3)
        if box.parent is not None:
            parent = boxes[box.parent]
            bend = parent.right + 0.13
            x, y = (parent.right, bend, bend, box.left), (parent.row, parent.row, box.row, box.row)
            axes.plot(x, y, color=LINE, linewidth=1.1, zorder=1, solid_joinstyle="round")
    for index, year in enumerate(YEARS):
        axes.text(COLUMN * index, -1.1, year, color=LINE, fontsize=10.5, va="center")
    for index, (colour, what) in enumerate(LEGEND.items()):
        left = 3.0 * index
        axes.add_patch(Rectangle((left, 13.2), 0.22, 0.45, color=colour, linewidth=0))
        axes.text(left + 0.32, 13.42, what, color=LINE, fontsize=10.5, va="center")
    axes.set(xlim=(-0.05, 9.05), ylim=(13.8, -1.6))
    axes.axis("off")
    figure.savefig(path, transparent=True, bbox_inches="tight", pad_inches=0.02, metadata={"Date": None})


if __name__ == "__main__":
    # The salt makes the output reproducible.
    with matplotlib.rc_context({"svg.hashsalt": "family", "font.family": "DejaVu Sans Mono"}):
        draw(Path(__file__).with_suffix(".svg"))
