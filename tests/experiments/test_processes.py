"""A run with two real processes on loopback: the same losses, and what happens when one process is lost."""

import json
import os
import re
import signal
import socket
import time

import pytest

from tests.flags import FAST
from xlstm_jax.train.workdir.lock import RUN_LOCK, Lock
from xlstm_jax.train.workdir.metrics import read_metrics

STEPS = 40
ONE = (
    "--config=configs/char_lm.py:tiny",
    "--config.model.pattern=r",
    "--config.train.eval_every=10",
    "--config.sample.length=0",
)
SPLIT = {"XLA_FLAGS": f"--xla_force_host_platform_device_count=2 {FAST}"}


def pair(programs, *arguments, **env):
    """Starts both processes of a run."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    shared = (f"--coordinator={address}", "--num_processes=2", "--peer_timeout=10")
    return [programs.start("train", *arguments, *shared, f"--process_id={number}", **env) for number in range(2)]


def ended(processes, seconds=240):
    """Returns (exit status, output, errors) of each; no process outlives the test."""
    try:
        results = [process.communicate(timeout=seconds) for process in processes]
    finally:
        for process in processes:
            process.kill()
    return [(process.returncode, *result) for process, result in zip(processes, results, strict=True)]


def losses(workdir):
    return {
        (record["step"], name): record[name]
        for record in read_metrics(workdir)
        for name in ("train/loss", "validation/loss")
        if name in record
    }


def wait_for(path, processes, seconds=240):
    deadline = time.monotonic() + seconds
    while not path.exists() and time.monotonic() < deadline and all(p.poll() is None for p in processes):
        time.sleep(0.02)
    assert path.exists(), ended(processes, 5)


@pytest.fixture
def arguments(text):
    return (*ONE, f"--config.data.path={text}", f"--config.train.steps={STEPS}")


@pytest.mark.slow
def test_two_processes_are_one_run(programs, arguments, tmp_path):
    """Each reads its own rows, one writes. Stopped on 2 x 2 devices, the run resumes in one process on another mesh."""
    one, two = tmp_path / "one", tmp_path / "two"
    programs.output("train", *arguments, f"--workdir={one}")
    half = [argument for argument in arguments if "steps" not in argument] + ["--config.train.steps=20"]
    first, second = ended(pair(programs, *half, f"--workdir={two}", "--config.mesh.fsdp=2", **SPLIT))
    assert (first[0], second[0]) == (0, 0), (first, second)
    assert "step 20  validation loss" in first[1] and "validation loss" not in second[1]
    programs.output("train", *arguments, f"--workdir={two}", "--config.mesh.fsdp=2", **SPLIT)
    wanted = losses(one)
    assert (STEPS, "validation/loss") in wanted and losses(two) == pytest.approx(wanted, rel=1e-4)
    # The other way round: two processes resume a run of one process.
    (two / "metrics.jsonl").rename(tmp_path / "before")
    done = ended(pair(programs, *arguments[:-1], "--config.train.steps=50", f"--workdir={two}", **SPLIT))
    assert [status for status, *_ in done] == [0, 0] and "resuming from step 40" in done[0][1]
    assert json.loads((two / "config.json").read_text())["mesh"]["fsdp"] == 1


@pytest.mark.slow
def test_a_signal_to_one_stops_both(programs, arguments, tmp_path):
    workdir = tmp_path / "run"
    long = [*arguments[:-1], "--config.train.steps=100000", f"--workdir={workdir}"]
    processes = pair(programs, *long)
    wait_for(workdir / "checkpoints" / "10", processes)
    processes[1].send_signal(signal.SIGTERM)
    first, second = ended(processes)
    assert (first[0], second[0]) == (0, 0), (first, second)
    step = re.search(r"stopped by a signal to another process; saved step (\d+); run again to resume", first[1])
    assert step and (workdir / "checkpoints" / step[1]).exists()


@pytest.mark.slow
@pytest.mark.parametrize("victim", [0, 1])
def test_one_killed_the_other_ends_soon(programs, arguments, tmp_path, victim):
    """Within 30 s, with a line that says which step is saved; the run resumes from there."""
    workdir = tmp_path / "run"
    long = [*arguments[:-1], "--config.train.steps=100000", f"--workdir={workdir}"]
    processes = pair(programs, *long)
    wait_for(workdir / "checkpoints" / "10", processes)
    processes[victim].kill()
    begun = time.monotonic()
    status, _, errors = ended(processes, 30)[1 - victim]
    assert time.monotonic() - begun < 30 and status == 3, errors
    line = re.search(r"^error: another process of this run was lost \(.*\); step (\d+) is saved; restart", errors, re.M)
    assert line and int(line[1]) >= 10, errors
    steps = int(line[1]) + 10
    shown = programs.output("train", *arguments[:-1], f"--config.train.steps={steps}", f"--workdir={workdir}")
    assert re.search(r"resuming from step \d+", shown)


@pytest.mark.slow
def test_a_workdir_in_use_is_refused_by_all(programs, arguments, tmp_path):
    """Only process 0 checks; no process waits for another."""
    workdir = tmp_path / "run"
    workdir.mkdir()
    with Lock(workdir / RUN_LOCK):
        done = ended(pair(programs, *arguments, f"--workdir={workdir}"))
        assert [path.name for path in workdir.iterdir()] == [RUN_LOCK]
    for status, _, errors in done:
        assert status == 2 and f"error: workdir {workdir} is in use by process {os.getpid()} on " in errors


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num_processes=2"], "--coordinator, --num_processes and --process_id must be given together"),
        (["--coordinator=127.0.0.1:1", "--num_processes=2", "--process_id=2"], "--process_id=2 must be less than"),
        (["--distributed"], "could not connect"),
    ],
)
def test_one_line(programs, arguments, tmp_path, flags, message):
    done = programs.run("train", *arguments, f"--workdir={tmp_path / 'run'}", *flags)
    assert done.returncode == 2 and message in done.stderr.splitlines()[-1], done.stderr
    assert not (tmp_path / "run").exists()
