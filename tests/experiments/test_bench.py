"""Interleaved timing and its ratios, and the benchmark program on tiny sizes."""

import csv
import itertools
import math

import jax
import jax.numpy as jnp
import pytest

from experiments import bench
from experiments.benching import base, timing
from experiments.benching.base import SUITES
from experiments.benching.timing import Case, measure


def test_rounds_are_interleaved_and_ratios_are_within_a_round(monkeypatch):
    """The cases advance the clock themselves. The second round is five times slower for all of them."""
    now, order = [0.0], []
    slowness = [1, 1, 1, 5, 1]  # for each run of a case: two for warm-up, three measured

    def case(group, name, seconds):
        def run():
            now[0] += seconds * slowness[order.count(name)]
            order.append(name)

        return Case(group, name, run, tokens=10)

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    rows = measure([case("g", "a", 1), case("g", "b", 2), case("alone", "c", 0.5)], rounds=3)
    assert "".join(order) == "aabb" + "ab" * 3 + "cc" + "ccc"
    assert [(row.ratio, row.ratio_low, row.ratio_high) for row in rows] == [(1, 1, 1), (2, 2, 2), (1, 1, 1)]
    assert [row.median_ms for row in rows] == [1000, 2000, 500]
    assert [row.high_ms for row in rows] == [3000, 6000, 1500]
    assert [row.tokens_per_second for row in rows] == [10, 5, 20]


def test_a_case_that_takes_too_long_stops_its_series_alone(monkeypatch):
    """Larger cases with the same name and panel are not run; other names and panels are."""
    now, ran = [0.0], []

    def case(panel, name, size, seconds):
        def run():
            now[0] += seconds
            ran.append((panel, name, size))

        return Case(f"{panel}, T {size}", name, run, 1, size)

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now[0])
    cases = [
        case(panel, name, size, size**2 if name == "slow" else size)
        for panel, size, name in itertools.product(("one", "two"), (1, 2, 4), ("slow", "quick"))
    ]
    rows = {(row.group, row.name): row for row in measure(cases, rounds=2, warmup=1, patience=3)}
    assert [rows[f"one, T {size}", "slow"].stopped for size in (1, 2, 4)] == ["", "a run takes 4 s", "a run takes 4 s"]
    assert ("one", "slow", 4) not in ran and ("two", "slow", 1) in ran
    quick = rows["one, T 2", "quick"]
    assert not quick.stopped and quick.median_ms == 2000 and math.isnan(quick.ratio)
    assert rows["one, T 1", "quick"].ratio == 1 and math.isnan(rows["one, T 4", "slow"].median_ms)


def test_a_case_that_does_not_fit_is_not_run(monkeypatch):
    """A case that refuses in `facts` is not run; the row of another has its facts."""
    ran = []

    def refuse():
        raise timing.Stopped("needs 99 GB")

    cases = [
        Case("g", "large", lambda: ran.append("large"), 1, facts=refuse),
        Case("g", "small", lambda: ran.append("small"), 1, facts=lambda: timing.Facts(5.0, 1e-6)),
    ]
    large, small = measure(cases, rounds=1, warmup=1)
    assert ran == ["small"] * 2 and large.stopped == "needs 99 GB" and not small.stopped
    assert (small.memory_mb, small.error) == (5, 1e-6)
    monkeypatch.setattr(base.os, "sysconf", lambda name: {"SC_PAGE_SIZE": 1, "SC_PHYS_PAGES": 1}[name])
    step = jax.jit(lambda x: jnp.sort(jnp.outer(x, x), axis=0).sum())
    with pytest.raises(timing.Stopped, match=r"needs .* GB"):
        base.compiled_facts(step, jnp.ones(1000))


def test_crossings():
    """A crossing needs a case that is slower at first and faster from some size on, without going back."""
    times = {"a": (4, 4, 4, 4), "b": (5, 3, 5, 3), "c": (9, 9, 9, 9)}
    rows = [
        timing.Row(f"p, T {2**n}", name, own[n], 0, 0, 0, 0, 0, 0, 2**n)
        for name, own in times.items()
        for n in range(4)
    ]
    assert list(bench._crossings(rows)) == ["p: b is faster than a from 8 on."]


# These compile little. The others take two minutes together.
QUICK = ("newton", "chunk_size")


@pytest.mark.parametrize(
    "suite", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SUITES.names()]
)
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
