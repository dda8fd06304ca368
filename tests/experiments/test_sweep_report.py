"""The report of a sweep from the records of its runs: tables, CSV and figure."""

import math

import matplotlib.image
import pytest

from experiments.sweeping.base import Sweep, axis, product, values
from experiments.sweeping.figure import draw
from experiments.sweeping.measured import Curve, Measured, write_measured
from experiments.sweeping.records import collect
from experiments.sweeping.report import markdown, measured_csv, reach, runs_csv
from experiments.sweeping.results import RUNS
from tests.experiments.runs import recorded
from xlstm_jax.errors import UsageError


def test_the_report_from_records(tmp_path):
    """Mean and spread over finished seeds; names sorted by the metric; no run is left out."""
    points = axis("cell", {name: {"model.recurrent.cell": name} for name in ("rnn", "gru", "lstm")})
    sweep = Sweep("Which?", "configs/char_lm.py:lstm", points, seeds=(0, 1))
    runs = {run.name: run for run in sweep.runs()}
    recorded(tmp_path, runs["cell=rnn,seed=0"], loss=2.0)
    recorded(tmp_path, runs["cell=rnn,seed=1"], status="failed", loss=9.0)
    recorded(tmp_path, runs["cell=lstm,seed=0"], loss=1.0)
    recorded(tmp_path, runs["cell=lstm,seed=1"], loss=1.5)
    rows = collect(sweep, tmp_path)
    assert [row.point.labels["cell"] for row in rows] == ["lstm", "rnn", "gru"]
    text = markdown(sweep, "cells.py", rows)
    assert "| lstm | 10 | 1.2500 ± 0.3536 | 3.49 | 100 | 1.0 | 2 finished |" in text
    assert "| rnn | 10 | 2.0000 | 7.39 | 100 | 1.0 | 1 finished, 1 failed: died |" in text
    assert "| gru | - | - | - | - | - | 2 not run |" in text
    assert "; one core a run, 2 runs at a time." in text
    assert len(runs_csv(sweep, rows).splitlines()) == 1 + 6
    changed = Sweep("Which?", "configs/char_lm.py:lstm", points, seeds=(0, 1), changes={"train.steps": 3})
    with pytest.raises(UsageError, match="was run with other arguments"):
        collect(changed, tmp_path)


def test_folds_of_a_cross_validation(tmp_path):
    """In place of seeds: their mean and spread."""
    changes = {"seeds": (0, 1), "repeated": "data.fold", "changes": {"train.steps": 3}}
    sweep = Sweep("?", "a.py", CELLS[:1], metric="test/auc", **changes)
    for run, auc in zip(sweep.runs(), (1.0, 2.0), strict=True):
        recorded(tmp_path, run, loss=0.0, **{"test/auc": auc})
    rows = collect(sweep, tmp_path)
    text = markdown(sweep, "folds.py", rows)
    assert "| 1.5000 ± 0.7071 |" in text and "At every point: train.steps 3; folds 0, 1." in text
    assert runs_csv(sweep, rows).startswith("cell,fold,status,")


def test_another_metric_over_the_steps(tmp_path):
    """For one that is measured only at the end, such as that of a held-out split."""
    sweep = Sweep("?", "a.py", CELLS, metric="test/accuracy", better="higher", over_steps="validation/loss")
    for run in sweep.runs():
        recorded(tmp_path, run, loss=2.0, **{"test/accuracy": 0.5})
    (outcome,) = collect(sweep, tmp_path)[0].outcomes
    assert outcome.values["test/accuracy"] == 0.5 and outcome.curve[-1][1] == 2.0


CELLS = axis("cell", {name: {"model.recurrent.cell": name} for name in ("rnn", "lstm")})
RATES = values("optimizer.learning_rate", [1e-2, 1e-3])


def test_the_best_setting_stands_for_its_point(tmp_path):
    """Chosen by the mean over seeds, diverged runs last; the other runs are counted, and all are in the CSV."""
    sweep = Sweep(
        "?",
        "a.py",
        product(CELLS, RATES),
        seeds=(0, 1),
        better="higher",
        metric="validation/accuracy",
        also=("long/accuracy",),
        best_of="learning_rate",
    )
    accuracies = {"rnn,0.01": (0.9, 0.1), "rnn,0.001": (0.6, 0.6), "lstm,0.01": (1, math.nan), "lstm,0.001": (0, 0.2)}
    for run in sweep.runs():
        accuracy = accuracies[",".join(run.point.labels.values())][run.seed]
        far = {} if run.seed else {"long/accuracy": 0.25}
        recorded(tmp_path, run, loss=1.0, **{"validation/accuracy": accuracy}, **far)
    rows = collect(sweep, tmp_path)
    text, lines = markdown(sweep, "a.py", rows), runs_csv(sweep, rows).splitlines()
    assert "| cell | best learning_rate | parameters | validation/accuracy (mean ± std) | long/accuracy" in text
    others = "2 finished; at other learning_rate: 2 finished |"
    assert f"| rnn | 0.001 | 10 | 0.6000 ± 0.0000 | 0.2500 | 100 | 1.0 | {others}" in text
    assert f"| lstm | 0.001 | 10 | 0.1000 ± 0.1414 | 0.2500 | 100 | 1.0 | {others}" in text
    assert len(lines) == 1 + 8 and "lstm,0.01,1,finished,10,nan,-,100.0,60.0," in lines


@pytest.mark.parametrize(
    "names", [("cell",), ("task", "cell"), ("lag",), ("cell", "lag"), ("task", "cell", "lag")], ids=",".join
)
def test_the_figure_has_panels_for_what_was_asked(tmp_path, names):
    """Dots for names, lines along numbers, separate panels for tasks; a panel for a metric without values is empty."""
    axes = {"cell": CELLS, "lag": values("lag", [10, 100, 1000]), "task": axis("task", {"copy": {}, "adding": {}})}
    options = {"also": ("long/loss", "none"), "log": ("validation/loss", *({"lag"} & {*names}))}
    sweep = Sweep("Which?", "a.py", product(*(axes[name] for name in names)), seeds=(0, 1), **options)
    for number, run in enumerate(sweep.runs()):
        recorded(tmp_path, run, loss=1.0 + number, **{"long/loss": 2.0})
    draw(sweep, collect(sweep, tmp_path), tmp_path / "figure.png")
    height, width, _ = matplotlib.image.imread(tmp_path / "figure.png").shape
    if len(names) == 3:
        assert height > 1.5 * width
    else:
        assert width == 130 * 4 * 5.5 and (height > 130 * 5) == (names == ("task", "cell"))


@pytest.mark.parametrize(("better", "reached"), [("higher", ["100", "-"]), ("lower", ["1000", "100"])])
def test_how_far_the_threshold_is_reached(tmp_path, better, reached):
    """By the mean over seeds. An equal value counts. It need not be reached at all smaller numbers."""
    points = product(CELLS, values("lag", [10, 100, 1000]))
    metric = "validation/solved"
    sweep = Sweep("?", "a.py", points, seeds=(0, 1), metric=metric, better=better, threshold=0.5)
    for run in sweep.runs():
        solved = {"rnn": (0.0, 0.5, 0.25), "lstm": (0.2, 0.4, math.nan)}[run.point.labels["cell"]]
        value = solved[("10", "100", "1000").index(run.point.labels["lag"])]
        if not math.isnan(value):
            recorded(tmp_path, run, loss=1.0, **{metric: value + (0.125 if run.seed else -0.125)})
    rows = collect(sweep, tmp_path)
    assert reach(sweep, rows)[1] == [["rnn", reached[0]], ["lstm", reached[1]]]
    bound = "or more" if better == "higher" else "or less"
    text = markdown(sweep, "a.py", rows)
    assert f"| cell | largest lag with validation/solved of 0.5 {bound} |" in text
    assert f"| lstm | {reached[1]} |\n" in text


def test_what_was_measured_is_drawn(tmp_path):
    """One more row of panels, and one line per point in the CSV; a run without its measure is not finished."""
    changes = {"seeds": (0, 1), "measure": "gradient_by_lag"}
    sweep = Sweep("?", "configs/adding.py:lstm", CELLS, **changes)
    measured = Measured("lag", "norm", [Curve("before", [0, 1], [1.0, 0.0]), Curve("after", [0], [2.0])], log=("y",))
    for run in sweep.runs():
        recorded(tmp_path, run, loss=1.0)
    draw(sweep, collect(sweep, tmp_path), tmp_path / "without.png")
    for run in list(sweep.runs())[1:]:
        write_measured(tmp_path / RUNS / run.name, "gradient_by_lag", measured, step=3)
    rows = collect(sweep, tmp_path)
    assert {row.point.labels["cell"]: [o.status for o in row.outcomes] for row in rows} == {
        "rnn": ["not run", "finished"],
        "lstm": ["finished"] * 2,
    }
    assert "perplexity" not in markdown(sweep, "a.py", rows)  # the loss is a squared error
    lines = measured_csv(sweep, rows).splitlines()
    assert lines[0] == "cell,seed,curve,x,y" and len(lines) == 1 + 3 * 3
    assert {"rnn,1,before,0,1", "rnn,1,before,1,0", "rnn,1,after,0,2"} < {*lines}
    draw(sweep, rows, tmp_path / "with.png")
    heights = [matplotlib.image.imread(tmp_path / f"{name}.png").shape[0] for name in ("without", "with")]
    assert heights[1] > 1.8 * heights[0]
