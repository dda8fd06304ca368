"""Time a suite: python -m experiments.bench --suite=train_step --out=/tmp/bench

Writes OUT/SUITE.csv, OUT/SUITE.md and OUT/SUITE.png. Ratios are taken round by round between cases that were timed
within the same second, so that they hold on a busy machine too.
"""

import csv
import os
import pathlib
import platform

from absl import flags

from experiments import cli

_SUITE = flags.DEFINE_string("suite", None, "what to measure: a name in experiments/suites")
_OUT = flags.DEFINE_string("out", None, "folder for the table, the CSV and the figure")
_ROUNDS = flags.DEFINE_integer("rounds", 15, "how often each case is timed", lower_bound=1)
_KEEP_MEMORY = flags.DEFINE_boolean(
    "keep_memory", False, "keep freed memory, as training does; helps every case that allocates much, peers' too"
)
_TINY = flags.DEFINE_boolean("tiny", False, "sizes that finish in seconds, to test the suite itself")


def main() -> None:
    cli.start_jax(keep_memory=_KEEP_MEMORY.value)
    from rich.console import Console
    from rich.table import Table

    from experiments.suites.base import SUITES
    from experiments.timing import Row, measure

    rows = measure(SUITES.get(_SUITE.value)(_TINY.value), _ROUNDS.value)
    out = pathlib.Path(_OUT.value)
    out.mkdir(parents=True, exist_ok=True)
    with (out / f"{_SUITE.value}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    header = ("group", "case", "ms (quartiles)", "tokens/s", "ratio (quartiles)")
    cells = [_cells(row) for row in rows]
    (out / f"{_SUITE.value}.md").write_text(_markdown(header, cells), encoding="utf-8")
    _draw(rows, out / f"{_SUITE.value}.png")
    table = Table(*header, title=_machine())
    for row in cells:
        table.add_row(*row)
    Console(width=None if os.isatty(1) else 120).print(table)
    print(f"written to {out}/{_SUITE.value}.csv, .md, .png")


def _cells(row) -> tuple[str, ...]:
    return (
        row.group,
        row.name,
        f"{row.median_ms:.1f} ({row.low_ms:.1f}-{row.high_ms:.1f})",
        f"{row.tokens_per_second:,.0f}",
        f"{row.ratio:.2f} ({row.ratio_low:.2f}-{row.ratio_high:.2f})",
    )


def _machine() -> str:
    import jax

    device = jax.devices()[0]
    what = f"{os.cpu_count()} CPU cores ({platform.machine()})" if device.platform == "cpu" else device.device_kind
    return f"{what}, Python {platform.python_version()}, jax {jax.__version__}"


def _markdown(header, cells) -> str:
    command = f"python -m experiments.bench --suite={_SUITE.value} --rounds={_ROUNDS.value} --out=OUT"
    command += " --keep_memory" if _KEEP_MEMORY.value else ""
    lines = [f"`{command}` on {_machine()}; {_ROUNDS.value} rounds, interleaved.", ""]
    lines += ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *cells)]
    return "\n".join(lines) + "\n"


def _draw(rows, path: pathlib.Path) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 0.42 * len(rows) + 1.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    # A case's name may end in what it took to run, after a comma; it is the same case in every group.
    kinds = [row.name.partition(",")[0] for row in rows]
    colours = {kind: f"C{index}" for index, kind in enumerate(dict.fromkeys(kinds))}
    for position, (row, kind) in enumerate(zip(rows, kinds, strict=True)):
        axes.barh(position, row.median_ms, color=colours[kind])
        axes.hlines(position, row.low_ms, row.high_ms, color="black", lw=1.5)
        axes.annotate(
            f" {row.ratio:.2f}", (max(row.median_ms, row.high_ms), position), va="center", ha="left", fontsize=9
        )
    axes.set_yticks(range(len(rows)), [f"{row.group}: {row.name}" for row in rows])
    medians = [row.median_ms for row in rows]
    if max(medians) > 100 * min(medians):
        axes.set_xscale("log")
    axes.margins(x=0.12, y=0.01)
    axes.invert_yaxis()
    figure.suptitle("ms a run: median, quartiles; ratio to the first case of its group", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    flags.mark_flags_as_required(["suite", "out"])
    cli.run(main)
