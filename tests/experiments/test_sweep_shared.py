"""Several sweeps in one folder, and damaged records."""

import json
import signal
import threading
import time

import pytest

from experiments.sweeping import runner
from experiments.sweeping.base import Sweep, values
from experiments.sweeping.measured import Curve, Measured, measured_path, read_measured, write_measured
from experiments.sweeping.records import collect
from experiments.sweeping.report import report
from experiments.sweeping.results import LOG, RESULT, RUNS, SWEEP, read_name, read_result
from experiments.sweeping.runner import SWEEP_LOCK, run_all
from tests.experiments.runs import recorded
from tests.tasks.examples import write_text
from xlstm_jax.errors import UsageError
from xlstm_jax.train.workdir.lock import RUN_LOCK, Lock


@pytest.fixture
def sweep():
    return Sweep("?", "configs/char_lm.py:tiny", values("model.features", [8, 16, 32]), seeds=(0,))


@pytest.fixture
def programs_run(monkeypatch):
    """Replaces real programs: records the name of the folder of each, and ends at once with status 0."""
    started = []

    def program(self, command, folder, cores):
        started.append(folder.name)
        (folder / LOG).touch()
        return 0

    monkeypatch.setattr(runner._Pool, "_program", program)
    monkeypatch.setattr(runner, "LOOK_SECONDS", 0.02)
    return started


def work(sweep, workdir, *, retry=False, workers=1):
    return run_all(sweep, "a.py", workdir, runs=[*sweep.runs()], workers=workers, retry=retry)


def results(sweep, workdir):
    return [read_result(workdir, run) for run in sweep.runs()]


@pytest.mark.parametrize("lock", [SWEEP_LOCK, RUN_LOCK])
def test_a_run_that_another_process_works_on(sweep, programs_run, tmp_path, capsys, lock):
    """It is left to that process (a sweep, or a training that outlived its sweep), and one line says so."""
    taken, *others = sweep.runs()
    folder = tmp_path / RUNS / taken.name
    folder.mkdir(parents=True)

    def other_process():
        with Lock(folder / lock):
            held.set()
            while len(programs_run) < 2:
                time.sleep(0.01)
            time.sleep(0.1)
            if lock == SWEEP_LOCK:  # a sweep also records the result
                recorded(tmp_path / "other", taken, loss=1.0)
                (tmp_path / "other" / RUNS / taken.name / RESULT).rename(folder / RESULT)

    held = threading.Event()
    thread = threading.Thread(target=other_process)
    thread.start()
    held.wait()
    assert work(sweep, tmp_path) == 0
    thread.join()
    wanted = [run.name for run in others] + ([] if lock == SWEEP_LOCK else [taken.name])
    assert programs_run == wanted  # each once; the one in use only if it is not finished
    assert [result["status"] for result in results(sweep, tmp_path)] == ["finished"] * 3
    assert (results(sweep, tmp_path)[0]["seconds"] == 60.0) == (lock == SWEEP_LOCK)  # not overwritten
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "1 of the runs are in use by other processes (workdir " in said
    assert not list(tmp_path.rglob("*.lock"))


def test_two_sweeps_share_the_runs(sweep, programs_run, tmp_path, monkeypatch):
    """Each run that is left is trained once."""
    monkeypatch.setattr(
        runner._Pool, "stopped_by_signals", lambda self: threading.Lock()
    )  # only the main thread can handle signals
    ends = []
    threads = [threading.Thread(target=lambda: ends.append(work(sweep, tmp_path, workers=2))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ends == [0, 0] and sorted(programs_run) == sorted(run.name for run in sweep.runs())


def test_what_failed_is_run_again_once(sweep, programs_run, tmp_path):
    first, second, third = sweep.runs()
    recorded(tmp_path, first, loss=1.0)
    recorded(tmp_path, second, status="failed")
    recorded(tmp_path, third, status="failed")
    assert work(sweep, tmp_path) == 1 and programs_run == []
    assert work(sweep, tmp_path, retry=True) == 0 and programs_run == [second.name, third.name]


DAMAGED = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: b"",
    "no UTF-8": lambda text: b"\xff" + text,
    "another type": lambda text: b"[1]",
    "another type inside": lambda text: text.replace(b'"finished"', b"3").replace(b'"y"', b"3"),
    "no such status": lambda text: text.replace(b'"finished"', b'"done"').replace(b'"curves"', b'"lines"'),
    "deep": lambda text: b"[" * 100_000,
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_result(sweep, programs_run, tmp_path, capsys, case):
    """One line names the file. A report lists the run as not run, and a sweep runs only this run again."""
    for run in sweep.runs():
        recorded(tmp_path, run, loss=1.0)
    hurt = [*sweep.runs()][1]
    path = tmp_path / RUNS / hurt.name / RESULT
    path.write_bytes(DAMAGED[case](path.read_bytes()))
    rows = collect(sweep, tmp_path)
    assert sorted(row.outcomes[0].status for row in rows) == ["finished", "finished", "not run"]
    assert capsys.readouterr().err == f"{path} is damaged; the run counts as not run\n"
    assert work(sweep, tmp_path) == 0 and programs_run == [hurt.name]
    assert read_result(tmp_path, hurt)["status"] == "finished"


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_measure(programs_run, tmp_path, capsys, monkeypatch, case):
    """The same; the measures of the other runs are kept."""
    sweep = Sweep("?", "configs/char_lm.py:tiny", values("model.features", [8, 16]), measure="gradient_by_lag")
    measured = Measured("lag", "y", [Curve("a", [1, 2], [0.5, 0.25])], log=("x",))
    for run in sweep.runs():
        recorded(tmp_path, run, loss=1.0)
        write_measured(tmp_path / RUNS / run.name, sweep.measure, measured)
    hurt, whole = sweep.runs()
    path = measured_path(tmp_path / RUNS / hurt.name, sweep.measure)
    path.write_bytes(DAMAGED[case](path.read_bytes()))
    with pytest.raises(UsageError, match=r"gradient_by_lag\.json is damaged; delete it, and measure the run again"):
        read_measured(path.parent, sweep.measure)
    rows = {row.outcomes[0].run.name: row.outcomes[0] for row in collect(sweep, tmp_path)}
    assert (rows[hurt.name].status, rows[hurt.name].measured) == ("not run", None)
    assert rows[whole.name].measured.curves[0].y == [0.5, 0.25]
    assert capsys.readouterr().err == (
        f"{path} is damaged; delete it, and measure the run again; it counts as not measured\n"
    )
    assert work(sweep, tmp_path) == 0 and programs_run == [hurt.name] * 2  # a finished training, and the measure


@pytest.mark.parametrize("content", [b"", b"[]", b'{"sweep": 3}', b'{"sweeps": "a.py"}', b"\xff", b"[" * 100_000])
def test_a_damaged_name(sweep, programs_run, tmp_path, content):
    """A sweep and a report refuse the folder with the same message, and work once the file is deleted."""
    (tmp_path / SWEEP).write_bytes(content)
    for read in (lambda: work(sweep, tmp_path), lambda: report(tmp_path, tmp_path), lambda: read_name(tmp_path)):
        with pytest.raises(UsageError, match=r"sweep\.json is damaged; delete it, and run experiments\.sweep there"):
            read()
    (tmp_path / SWEEP).unlink()
    assert work(sweep, tmp_path) == 0 and read_name(tmp_path) == "a.py"


SOURCE = """
from experiments.sweeping.base import Sweep, values

VARIANTS = {{"": {steps}}}

def get_sweep(variant=""):
    return Sweep(
        question="Which width is best?",
        config="configs/char_lm.py:tiny",
        points=values("model.features", [8, 16, 24]),
        changes={{
            "data.path": "{text}", "model.pattern": "r", "model.recurrent.cell": "rnn", "sample.length": 0,
            "train.steps": {steps}, "train.eval_every": 100,
        }},
        seeds=(0,),
        published="nothing",
    )
"""


def sweep_file(folder, steps):
    path = folder / "widths.py"
    path.write_text(SOURCE.format(text=write_text(folder / "text.txt"), steps=steps))
    return path


def trainings(workdir):
    """How often each run was started or resumed, from its output."""
    return {path.parent.name: path.read_text().count("parameters, pattern") for path in workdir.glob(f"{RUNS}/*/{LOG}")}


@pytest.mark.slow
def test_two_sweeps_at_once(programs, tmp_path):
    """No run is trained twice, in a folder whose name looks like a pattern; runs are evaluated and reported."""
    workdir = tmp_path / "sweep[1] \\b"
    where = (f"--sweep={sweep_file(tmp_path, 150)}", f"--workdir={workdir}")
    both = [programs.start("sweep", *where) for _ in range(2)]
    ends = [process.communicate(timeout=250) for process in both]
    assert [process.returncode for process in both] == [0, 0], ends
    assert all("3 finished, 0 failed, in " + str(workdir) in out for out, _ in ends)
    assert trainings(workdir) == {f"features={width},seed=0": 1 for width in (8, 16, 24)}
    assert not list(workdir.rglob("*.lock"))
    assert "widths.py" in (workdir / SWEEP).read_text()
    assert f"figure.png are in {workdir}\n" in programs.output("report", f"--workdir={workdir}")
    run = workdir / RUNS / "features=8,seed=0"
    assert f"written to {run}" in programs.output("evaluate", f"--workdir={run}")


@pytest.mark.slow
def test_a_sweep_restarted_after_a_kill(programs, tmp_path):
    """Works at once although a training of the killed sweep is still running: it waits for it without disturbing it."""
    workdir = tmp_path / "sweep"
    where = (f"--sweep={sweep_file(tmp_path, 800)}", f"--workdir={workdir}", "--shard=1/3")
    folder = workdir / RUNS / "features=8,seed=0"
    first = programs.start("sweep", *where)
    deadline = time.monotonic() + 200
    while not (folder / "checkpoints" / "100").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    done = programs.run("sweep", *where)
    assert done.returncode == 0 and "1 finished, 0 failed" in done.stdout, done.stdout + done.stderr
    assert "1 of the runs are in use by other processes" in done.stderr
    steps = [json.loads(line)["step"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and steps[-1] == 800


@pytest.mark.slow
def test_two_trainings_at_once(programs, text, tmp_path):
    """The second is refused in one line and changes nothing; after a `kill -9` of the first it resumes at once."""
    workdir = tmp_path / "run"
    arguments = ("--config=configs/char_lm.py:tiny", f"--config.data.path={text}", f"--workdir={workdir}")
    arguments += ("--config.sample.length=0", "--config.train.steps=3000", "--config.train.eval_every=100")
    arguments += ("--config.model.pattern=r", "--config.model.recurrent.cell=rnn")
    first = programs.start("train", *arguments)
    try:
        deadline = time.monotonic() + 200
        while not (workdir / "checkpoints" / "100").exists() and time.monotonic() < deadline:
            time.sleep(0.02)
        second = programs.run("train", *arguments)
        assert first.poll() is None  # it was not disturbed
        assert second.returncode == 2 and second.stdout == "" and second.stderr.count("\n") == 1
        assert f"error: workdir {workdir} is in use by process {first.pid} on " in second.stderr
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=60)
        assert (workdir / RUN_LOCK).exists()
        third = programs.start("train", *arguments)
        try:
            while "resuming from step" not in (line := third.stdout.readline()):
                assert line, third.communicate()
            third.terminate()
            out, err = third.communicate(timeout=200)
        finally:
            third.kill()
        assert (third.returncode, err) == (0, "") and "stopped by signal 15" in out
    finally:
        first.kill()
    assert not (workdir / RUN_LOCK).exists()
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps)
