"""Time a suite: python -m experiments.bench --suite=train_step --out=/tmp/bench

Writes OUT/SUITE.csv, OUT/SUITE.md and OUT/SUITE.png. Each ratio compares two cases timed within the same second, round
by round, so ratios stay valid on a busy machine.
"""

import csv
import itertools
import math
import operator
import os
import platform
from collections.abc import Iterator

from absl import flags

from experiments.programs import cli

_SUITE = flags.DEFINE_string("suite", None, "name of a suite, from experiments/suites or a plugin")
_OUT = flags.DEFINE_string("out", None, "folder for the table, the CSV and the figure")
_ROUNDS = flags.DEFINE_integer("rounds", 15, "how many times to time each case", lower_bound=1, upper_bound=cli.MOST)
_PATIENCE = flags.DEFINE_float(
    "patience", math.inf, "skip cases that take more seconds than this, and all larger ones", lower_bound=0
)
flags.register_validator("patience", lambda seconds: seconds >= 0, message="must be a number, at least 0")  # no NaN
_KEEP_MEMORY = flags.DEFINE_boolean(
    "keep_memory",
    False,
    "keep freed memory, as training does; speeds up every case that allocates a lot, in other libraries too",
)
_CPU_DEVICES = flags.DEFINE_integer(
    "cpu_devices",
    1,
    "number of devices to split the CPU into; some suites add cases that use all of them",
    lower_bound=1,
    upper_bound=1024,
)
_PLUGINS = flags.DEFINE_string(
    "plugins", "", "comma-separated modules to import first, which add suites or what suites measure"
)
_TINY = flags.DEFINE_boolean("tiny", False, "use sizes that finish in seconds, to test the suite itself")
# Columns shown if at least one case has a value: how to read it from a row, and its format.
FACTS = {
    "compile CPU s": (operator.attrgetter("compile_seconds"), "{:.1f}"),
    "MB": (operator.attrgetter("memory_mb"), "{:,.0f}"),
    "error": (operator.attrgetter("error"), "{:.1e}"),
}


def main() -> None:
    cli.start_jax(keep_memory=_KEEP_MEMORY.value)
    import jax

    jax.config.update("jax_num_cpu_devices", _CPU_DEVICES.value)
    from rich.table import Table

    from experiments.benching.base import SUITES
    from experiments.benching.timing import Row, measure
    from experiments.programs.figures import draw
    from xlstm_jax.console import plain_console
    from xlstm_jax.files import replacing
    from xlstm_jax.plugins import load_plugins

    load_plugins(_PLUGINS.value)
    suite, out = SUITES.get(_SUITE.value), cli.made_folder(_OUT.value)
    rows = measure(suite(_TINY.value), _ROUNDS.value, patience=_PATIENCE.value)
    with replacing(out / f"{_SUITE.value}.csv") as temporary, temporary.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(Row._fields)
        writer.writerows(rows)
    header = ["group", "case", "ms (quartiles)", "tokens/s", "ratio (quartiles)"]
    known = {title: form for title, form in FACTS.items() if any(math.isfinite(form[0](row)) for row in rows)}
    header += known
    cells = [_cells(row, known) for row in rows]
    crossings = list(_crossings(rows))
    with replacing(out / f"{_SUITE.value}.md") as temporary:
        temporary.write_text(_markdown(header, cells, crossings), encoding="utf-8")
    written = ".csv, .md"
    if not all(row.stopped for row in rows):
        draw(rows, out / f"{_SUITE.value}.png")
        written += ", .png"
    table = Table(*header, title=_machine())
    for row in cells:
        table.add_row(*row)
    plain_console(width=None if os.isatty(1) else 140).print(table, soft_wrap=False)
    print(*crossings, sep="\n", end="\n" if crossings else "")
    print(f"written to {out}/{_SUITE.value}{written}")


def _cells(row, known) -> tuple[str, ...]:
    if row.stopped:
        timed = (f"stopped: {row.stopped}", "", "")
    else:
        ratio = f"{row.ratio:.2f} ({row.ratio_low:.2f}-{row.ratio_high:.2f})" if math.isfinite(row.ratio) else ""
        timed = (
            f"{row.median_ms:.1f} ({row.low_ms:.1f}-{row.high_ms:.1f})",
            f"{row.tokens_per_second:,.0f}",
            ratio,
        )
    facts = (form.format(fact(row)) if math.isfinite(fact(row)) else "" for fact, form in known.values())
    return (row.group, row.name, *timed, *facts)


def _crossings(rows) -> Iterator[str]:
    """One line for each crossing: from which size a case is faster than one that is faster at smaller sizes."""
    from experiments.benching.timing import series

    times = {}
    for row in rows:
        if row.size and not row.stopped:
            times.setdefault(series(row), {})[row.size] = row.median_ms
    for (panel, one), (other_panel, two) in itertools.permutations(times, 2):
        mine, others = times[panel, one], times[other_panel, two]
        sizes = sorted(mine.keys() & others.keys())
        if panel != other_panel or not sizes or mine[sizes[0]] <= others[sizes[0]]:
            continue
        slower = [size for size in sizes if mine[size] > others[size]]
        if faster := [size for size in sizes if size > slower[-1]]:
            yield f"{panel}: {one} is faster than {two} from {faster[0]:,} on."


def _machine() -> str:
    import jax

    device = jax.devices()[0]
    what = f"{os.cpu_count()} CPU cores ({platform.machine()})" if device.platform == "cpu" else device.device_kind
    return f"{what}, Python {platform.python_version()}, jax {jax.__version__}"


def _markdown(header, cells, crossings) -> str:
    command = f"python -m experiments.bench --suite={_SUITE.value} --rounds={_ROUNDS.value} --out=OUT"
    command += " --keep_memory" if _KEEP_MEMORY.value else ""
    command += f" --cpu_devices={_CPU_DEVICES.value}" if _CPU_DEVICES.value > 1 else ""
    command += f" --plugins={_PLUGINS.value}" if _PLUGINS.value else ""
    command += " --tiny" if _TINY.value else ""
    command += f" --patience={_PATIENCE.value:g}" if math.isfinite(_PATIENCE.value) else ""
    lines = [f"`{command}` on {_machine()}; {_ROUNDS.value} rounds, interleaved.", ""]
    lines += ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *cells)]
    lines += ["", *(f"- {line}" for line in crossings)] if crossings else []
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    flags.mark_flags_as_required(["suite", "out"])
    cli.run(main)
