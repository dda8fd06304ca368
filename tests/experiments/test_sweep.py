"""Sweeps: their points, and their runs as processes. Checks the contract of every sweep in the project."""

import csv
import importlib
import math
import pathlib
import re
import signal
import time

import matplotlib.image
import pytest

import experiments.sweeps
from experiments.sweep import _slice
from experiments.sweeping.base import Sweep, axis, product, values, zipped
from experiments.sweeping.measured import MEASURES
from experiments.sweeping.results import LOG, RESULT, RUNS
from experiments.sweeping.runner import load
from tests.tasks.examples import write_text
from xlstm_jax.errors import UsageError
from xlstm_jax.files import write_json

FOLDER = pathlib.Path(experiments.sweeps.__path__[0])
SWEEPS = [
    (path, variant)
    for path in sorted(FOLDER.glob("*.py"))
    if "def get_sweep" in path.read_text(encoding="utf-8")
    for variant in importlib.import_module(f"experiments.sweeps.{path.stem}").VARIANTS
]


def config_of(run):
    path, _, variant = run.config.partition(":")
    get_config = importlib.import_module(path.removesuffix(".py").replace("/", ".")).get_config
    return (get_config(variant) if variant else get_config()).unlock()


@pytest.mark.parametrize(("path", "variant"), SWEEPS, ids=lambda value: getattr(value, "stem", value))
def test_every_override_is_a_key_of_its_config(path, variant):
    """With the same type, so that the command line accepts it."""
    sweep = load(f"{path}:{variant}")
    for run in sweep.runs():
        config = config_of(run)
        for key, value in run.overrides.items():
            node = config
            for part in key.split("."):
                assert part in node, f"{run.name}: {key}"
                node = node[part]
            assert type(node) is type(value), f"{run.name}: {key}"
    assert sweep.question.endswith("?") and sweep.published
    assert not sweep.measure or sweep.measure in MEASURES.names()


@pytest.mark.parametrize("path", sorted({path for path, _ in SWEEPS}), ids=lambda path: path.stem)
def test_each_file_opens_with_its_commands_and_has_a_tiny_variant(path):
    doc = path.read_text(encoding="utf-8").split('"""')[1]
    assert f"python -m experiments.sweep --sweep=experiments/sweeps/{path.name} --workdir=" in doc
    assert "python -m experiments.report --workdir=" in doc
    assert {"", "tiny"} <= set(importlib.import_module(f"experiments.sweeps.{path.stem}").VARIANTS)


def test_axes():
    gates = axis("gate", {"exp": {"model.mlstm.input_gate": "exp"}, "sigmoid": {"model.mlstm.input_gate": "sigmoid"}})
    widths = values("model.features", [8, 16])
    assert [point.labels for point in product(gates, widths)] == [
        {"gate": gate, "features": width} for gate in ("exp", "sigmoid") for width in ("8", "16")
    ]
    assert [point.changes for point in zipped(gates, widths)] == [
        {"model.mlstm.input_gate": "exp", "model.features": 8},
        {"model.mlstm.input_gate": "sigmoid", "model.features": 16},
    ]
    with pytest.raises(ValueError, match="shorter"):
        zipped(gates, widths[:1])
    runs = [*Sweep("?", "a.py", product(gates, widths), changes={"model.features": 4, "x": 1}, seeds=(3, 4)).runs()]
    assert len(runs) == 8 and len({run.name for run in runs}) == 8
    assert runs[1].name == "gate=exp,features=8,seed=4"
    wanted = ["--config=a.py", "--config.model.features=8", "--config.x=1"]
    assert runs[1].arguments == [*wanted, "--config.model.mlstm.input_gate=exp", "--config.seed=4"]
    (run,) = Sweep("?", "a.py", widths[:1], seeds=(4,), repeated="data.fold").runs()
    assert run.name == "features=8,fold=4"
    assert run.arguments == ["--config=a.py", "--config.model.features=8", "--config.data.fold=4"]


@pytest.mark.parametrize(
    ("points", "options", "message"),
    [
        ([*values("a", [1]), *values("b", [1])], {}, "one set of axes"),
        ([*values("a", [1]), *values("a", [1.0, 1])], {}, "given twice"),
        (values("a", [1]), {"better": "less"}, "lower or higher"),
        (values("a", [1]), {"best_of": "b"}, r"best_of \['b'\] is not allowed; known: a"),
        (values("a", [1]), {"threshold": 0.5}, "threshold 0.5 is not allowed; no axis has numbers"),
        (values("a", [1]), {"log": ("a", "loss")}, r"log \['loss'\] is not allowed; known: a, validation/loss"),
    ],
)
def test_sweeps_that_cannot_be(points, options, message):
    with pytest.raises(ValueError, match=message):
        Sweep("?", "a.py", points, **options)


def test_slices_share_all_runs_out(monkeypatch):
    slices = [_slice(f"{k}/3") for k in (1, 2, 3)]
    assert sorted(run for index, count in slices for run in range(8)[index::count]) == [*range(8)]
    assert _slice(None) == (0, 1)
    for name, value in {"MIN": 4, "MAX": 6, "ID": 5}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    assert _slice(None) == (1, 3) and _slice("1/1") == (0, 1)
    for name, value in {"MAX": 10, "ID": 7, "STEP": 3, "COUNT": 3}.items():
        monkeypatch.setenv(f"SLURM_ARRAY_TASK_{name}", str(value))
    assert _slice(None) == (1, 3)
    monkeypatch.setenv("SLURM_ARRAY_TASK_STEP", "1")
    with pytest.raises(UsageError, match=r"Slurm array has 3 tasks from 4 to 10, not evenly spaced \(this is task 7"):
        _slice(None)
    for text in ("x", "", "-1", "1.0"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", text)
        with pytest.raises(UsageError, match=rf"^SLURM_ARRAY_TASK_MIN='{text}' is not an integer; give --shard=K/N$"):
            _slice(None)
    monkeypatch.delenv("SLURM_ARRAY_TASK_MIN")
    with pytest.raises(UsageError, match=r"^SLURM_ARRAY_TASK_MIN='' is not an integer"):
        _slice(None)
    for shard in ("0/3", "4/3", "1", "a/b"):
        with pytest.raises(UsageError, match=re.escape(f"--shard={shard} is not allowed")):
            _slice(shard)


SOURCE = """
from experiments.sweeping.base import Sweep, product, values

VARIANTS = {{"": 20, "long": 4000}}

def get_sweep(variant=""):
    return Sweep(
        question="Which width is best?",
        config="configs/char_lm.py:tiny",
        points=values("model.features", [8, 30, 16]),
        changes={{
            "data.path": "{text}", "model.pattern": "s", "sample.length": 0, "train.steps": VARIANTS[variant],
            "train.eval_every": 10,
        }},
        seeds=(0, 1),
        measure="gradient_by_lag",
        published="nothing",
    )
"""


@pytest.fixture
def sweep_file(tmp_path):
    path = tmp_path / "widths.py"
    path.write_text(SOURCE.format(text=write_text(tmp_path / "text.txt")))
    return path


@pytest.mark.slow
def test_a_sweep_and_its_report(programs, sweep_file, tmp_path):
    """Width 30 does not fit 4 heads: these runs fail and are recorded as failed, and the sweep continues."""
    where = (f"--sweep={sweep_file}", f"--workdir={tmp_path / 'sweep'}")
    half = programs.run("sweep", *where, "--shard=1/2")
    assert half.returncode == 1 and "2 finished, 1 failed" in half.stdout, half.stdout + half.stderr
    early = programs.output("report", f"--workdir={tmp_path / 'sweep'}", f"--out={tmp_path / 'early'}")
    assert "1 finished, 1 not run" in early and "1 failed, 1 not run" in early
    done = programs.run("sweep", *where, "--num_workers=2")
    assert done.returncode == 1 and "4 finished, 2 failed" in done.stdout
    assert "exit status 2, error: model.features 30 does not fit slstm.num_heads 4" in done.stdout
    results = sorted((tmp_path / "sweep" / RUNS).glob(f"*/{RESULT}"))
    assert len(results) == 6
    measured = sorted((tmp_path / "sweep" / RUNS).glob("*/measured-gradient_by_lag.json"))
    assert [path.parent.name for path in measured] == [
        path.parent.name for path in results if "30" not in path.parent.name
    ]
    before = {path: path.stat().st_mtime_ns for path in results}
    again = programs.run("sweep", *where)
    assert again.returncode == 1 and {path: path.stat().st_mtime_ns for path in results} == before
    retried = programs.run("sweep", *where, "--retry", "--shard=3/6")
    assert retried.returncode == 1
    assert [path.parent.name for path in results if path.stat().st_mtime_ns != before[path]] == ["features=30,seed=0"]
    measured[0].unlink()
    early = programs.output("report", f"--workdir={tmp_path / 'sweep'}", f"--out={tmp_path / 'early'}")
    assert "1 not run, 1 finished" in early
    programs.run("sweep", *where)
    assert measured[0].exists()

    shown = programs.output("report", f"--workdir={tmp_path / 'sweep'}")
    table = (tmp_path / "sweep" / "table.md").read_text()
    with (tmp_path / "sweep" / "runs.csv").open() as file:
        rows = [*csv.DictReader(file)]
    assert [(row["features"], row["seed"], row["status"]) for row in rows] == [
        (width, seed, "failed" if width == "30" else "finished") for width in ("8", "30", "16") for seed in "01"
    ]
    losses = [float(row["validation/loss"]) for row in rows if row["features"] == "16"]
    spread = abs(losses[0] - losses[1]) / math.sqrt(2)
    assert f"| {sum(losses) / 2:.4f} ± {spread:.4f} |" in table and "2 failed: exit status 2" in table
    assert f"{sum(losses) / 2:.4f}" in shown and "Held against: nothing." in table
    image = matplotlib.image.imread(tmp_path / "sweep" / "figure.png")
    assert image.shape[0] > 300 and image.std() > 0.05


@pytest.mark.slow
def test_stopped_and_taken_up(programs, sweep_file, tmp_path):
    """SIGTERM is passed on to the run, which saves; the same command resumes the sweep."""
    where = (f"--sweep={sweep_file}:long", f"--workdir={tmp_path / 'sweep'}", "--shard=1/6")
    folder = tmp_path / "sweep" / RUNS / "features=8,seed=0"
    process = programs.start("sweep", *where)
    deadline = time.monotonic() + 200
    while not (folder / "checkpoints" / "10").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=200)
    assert process.returncode == 143 and "stopped by signal 15; run the same command to resume" in out, err
    assert not (folder / RESULT).exists() and "stopped by signal 15; saved step" in (folder / LOG).read_text()


BAD = {
    "no file": ("sweep", ["--sweep={tmp}/none.py"], "sweep file '{tmp}/none.py' does not exist"),
    "no sweep": ("sweep", ["--sweep={tmp}/text.py"], "is not a sweep: it has no get_sweep(variant)"),
    "variant": (
        "sweep",
        ["--sweep={tmp}/widths.py:huge"],
        "variant 'huge' of {tmp}/widths.py is unknown; allowed: long",
    ),
    "other sweep": ("sweep", ["--sweep={tmp}/widths.py:long"], "holds the sweep other.py, not"),
    "shard": ("sweep", ["--sweep={tmp}/widths.py", "--shard=3/2"], "--shard=3/2 is not allowed"),
    "nothing to report": ("report", ["--workdir={tmp}"], "holds no sweep (no sweep.json)"),
}


@pytest.mark.parametrize("case", BAD)
def test_one_line(programs, sweep_file, tmp_path, case):
    name, arguments, message = BAD[case]
    (tmp_path / "text.py").write_text("text = 1\n")
    folder = tmp_path / "sweep"
    folder.mkdir()
    write_json(folder / "sweep.json", {"sweep": "other.py"})
    given = [f"--workdir={folder}", *(argument.format(tmp=tmp_path) for argument in arguments)]
    done = programs.run(name, *given)
    assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
    assert message.format(tmp=tmp_path) in done.stderr


@pytest.mark.parametrize(
    ("points", "best_of", "along"),
    [
        (product(values("cell", ["rnn", "lstm"]), values("lag", [10, 1e3])), "", "lag"),
        (product(values("cell", ["rnn", "lstm"]), values("lag", [10, 20])), "lag", ""),
        (product(values("width", [1, 2]), values("lag", [10, 20, 30])), "", "lag"),
        (product(values("lag", [10]), values("cell", ["rnn", "1"])), "", ""),
    ],
)
def test_the_axis_of_numbers(points, best_of, along):
    sweep = Sweep("?", "a.py", points, best_of=best_of)
    assert sweep.along == along and sweep.kept == tuple(name for name in sweep.axes if name != best_of)
