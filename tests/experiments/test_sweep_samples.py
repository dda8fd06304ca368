"""The samples of a sweep's runs."""

from experiments.sweeping.base import Sweep, axis
from experiments.sweeping.records import collect
from experiments.sweeping.results import RUNS
from experiments.sweeping.samples import write_samples
from tests.experiments.runs import recorded


def test_one_of_each_point_in_the_order_of_the_table(tmp_path):
    """The sample of the first finished seed that has one; points without samples are left out."""
    points = axis("cell", {name: {"model.recurrent.cell": name} for name in ("rnn", "gru", "lstm")})
    sweep = Sweep("Which writes best?", "configs/char_lm.py:lstm", points, seeds=(0, 1))
    for run in sweep.runs():
        cell = run.point.labels["cell"]
        failed = cell == "rnn" and run.seed == 0
        recorded(
            tmp_path, run, loss={"rnn": 2.0, "gru": 1.5, "lstm": 1.0}[cell], status="failed" if failed else "finished"
        )
        if cell != "gru":
            (tmp_path / RUNS / run.name / "sample.txt").write_text(f"# {cell} {run.seed}\n\n```end\n")
    assert write_samples(sweep, collect(sweep, tmp_path), tmp_path, tmp_path) == ", samples.md"
    wanted = """Which writes best? A sample of each:

## lstm

validation/loss 1.0000

    # lstm 0

    ```end

## rnn

validation/loss 2.0000

    # rnn 1

    ```end
"""
    assert (tmp_path / "samples.md").read_text() == wanted


def test_nothing_where_no_run_has_a_sample(tmp_path):
    sweep = Sweep("Which?", "configs/char_lm.py:lstm", axis("cell", {"rnn": {}}))
    assert write_samples(sweep, collect(sweep, tmp_path), tmp_path, tmp_path) == ""
    assert not (tmp_path / "samples.md").exists()
