"""Helpers to read, write and compare workdirs, such as that of a stopped or damaged run with an undisturbed one."""

import json
import pathlib

import jax
import numpy as np

from experiments.sweeping.results import RESULT, RUNS
from xlstm_jax.files import write_json
from xlstm_jax.train.build import build
from xlstm_jax.train.step import abstract_state
from xlstm_jax.train.workdir.checkpoint import Checkpoints
from xlstm_jax.train.workdir.metrics import TIMED, read_metrics


def records(workdir: pathlib.Path) -> list[dict]:
    """All lines of the metrics, without measured times."""
    return [{key: value for key, value in record.items() if key not in TIMED} for record in read_metrics(workdir)]


def checkpoints(workdir: pathlib.Path) -> list[int]:
    folder = workdir / "checkpoints"
    return sorted(int(path.name) for path in folder.glob("*") if path.name.isdigit())


def assert_same_end(got: pathlib.Path, wanted: pathlib.Path) -> None:
    """Asserts equal metrics, and bitwise equal state and data position in the last checkpoint."""
    assert records(got) == records(wanted)
    ends = []
    for workdir in (got, wanted):
        run = build(json.loads((workdir / "config.json").read_text()))
        with Checkpoints(workdir, read_only=True) as saved:
            assert saved.latest_step() == run.sections.train.steps
            ends.append(saved.restore(run.sections.train.steps, abstract_state(run)))
    assert ends[0].data == ends[1].data
    for a, b in zip(*(jax.tree.leaves(end.state) for end in ends), strict=True):
        np.testing.assert_array_equal(a, b)


def recorded(workdir, run, *, loss=None, status="finished", parameters=10, **metrics):
    """Writes the files of a sweep's run: three steps, 90 to 110 tokens per second, one minute."""
    folder = workdir / RUNS / run.name
    folder.mkdir(parents=True)
    records = [{"step": 0, "model/parameters": parameters}]
    records += [{"step": step, "train/tokens_per_second": rate} for step, rate in ((1, 5.0), (2, 90.0), (3, 110.0))]
    records += [] if loss is None else [{"step": 3, "validation/loss": loss, **metrics}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    result = {"labels": run.point.labels, "seed": run.seed, "arguments": run.arguments, "status": status}
    share = {"cores": 1, "workers": 2}
    write_json(folder / RESULT, result | share | {"message": "" if status == "finished" else "died", "seconds": 60.0})
