"""Interleaved timing and its ratios, and the benchmark program on tiny sizes."""

import csv

import pytest

from experiments import timing
from experiments.suites.base import SUITES
from experiments.timing import Case, measure


def test_rounds_are_interleaved_and_ratios_are_within_a_round(monkeypatch):
    """A clock that the cases move themselves: the second round is five times slower, for all of them alike."""
    now, order = [0.0], []
    slowness = [1, 1, 1, 5, 1]  # by run of a case: two to warm up, three to measure

    def case(group, name, seconds):
        def run():
            now[0] += seconds * slowness[order.count(name)]
            order.append(name)

        return Case(group, name, run, tokens=10)

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    rows = measure([case("g", "a", 1), case("g", "b", 2), case("alone", "c", 0.5)], rounds=3)
    assert "".join(order) == "aabbcc" + "abc" * 3
    assert [(row.ratio, row.ratio_low, row.ratio_high) for row in rows] == [(1, 1, 1), (2, 2, 2), (1, 1, 1)]
    assert [row.median_ms for row in rows] == [1000, 2000, 500]
    assert [row.high_ms for row in rows] == [3000, 6000, 1500]
    assert [row.tokens_per_second for row in rows] == [10, 5, 20]


@pytest.mark.parametrize("suite", SUITES.names())
def test_program(programs, tmp_path, suite):
    """Every suite runs from end to end and writes a table, a CSV and a figure."""
    shown = programs.output("bench", f"--suite={suite}", "--tiny", "--rounds=2", f"--out={tmp_path / 'out'}")
    with (tmp_path / "out" / f"{suite}.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows and all(float(row["median_ms"]) > 0 for row in rows)
    firsts = {row["group"]: row for row in reversed(rows)}
    assert all(float(row["ratio"]) == 1 for row in firsts.values()) and all(row["name"] in shown for row in rows[:1])
    table = (tmp_path / "out" / f"{suite}.md").read_text()
    assert f"python -m experiments.bench --suite={suite} --rounds=2" in table and table.count("\n| ") >= len(rows)
    assert (tmp_path / "out" / f"{suite}.png").stat().st_size > 5000


def test_unknown_suite(programs, tmp_path):
    done = programs.run("bench", "--suite=none", f"--out={tmp_path / 'out'}")
    assert done.returncode == 2 and not (tmp_path / "out").exists()
    assert done.stderr.startswith("error: unknown suite 'none'; known: ") and done.stderr.count("\n") == 1
    assert all(name in done.stderr for name in SUITES.names())
