"""What tests read of a run's workdir, to compare one that was stopped or hurt with one that was not."""

import json
import pathlib

import jax
import numpy as np

from xlstm_jax.train.checkpoint import Checkpoints
from xlstm_jax.train.metrics import TIMED, read_metrics
from xlstm_jax.train.run import Run


def records(workdir: pathlib.Path) -> list[dict]:
    """All lines but for what a clock measured."""
    return [{key: value for key, value in record.items() if key not in TIMED} for record in read_metrics(workdir)]


def checkpoints(workdir: pathlib.Path) -> list[int]:
    folder = workdir / "checkpoints"
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def assert_same_end(got: pathlib.Path, wanted: pathlib.Path) -> None:
    """Metrics, and state and data's position of the last checkpoint, to the last bit."""
    assert records(got) == records(wanted)
    ends = []
    for workdir in (got, wanted):
        run = Run(json.loads((workdir / "config.json").read_text()))
        with Checkpoints(workdir, read_only=True) as saved:
            assert saved.latest_step() == run.train.steps
            ends.append(saved.restore(run.train.steps, run.abstract_state))
    assert ends[0].data == ends[1].data
    for a, b in zip(*(jax.tree.leaves(end.state) for end in ends), strict=True):
        np.testing.assert_array_equal(a, b)
