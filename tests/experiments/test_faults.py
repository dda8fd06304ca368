"""Failures of the machine, with real processes and files: a run loses nothing before its last complete checkpoint."""

import json
import re
import signal
import subprocess
import time

import numpy as np
import pytest

from tests.experiments.runs import assert_same_end, checkpoints, records
from tests.tasks.examples import write_text
from tests.train.saving import flip, largest
from xlstm_jax.train.workdir.damage import find_damage

pytestmark = pytest.mark.slow

KILLS = 10


@pytest.fixture
def arguments(text):
    return (
        "--config=configs/char_lm.py:tiny",
        "--config.model.pattern=r",
        "--config.model.recurrent.cell=rnn",
        "--config.sample.length=0",
        "--config.train.log_every=1",
        f"--config.data.path={text}",
    )


def test_flipped_bytes_in_the_latest_checkpoint(programs, arguments, tmp_path):
    """Programs and training use the previous checkpoint, and training ends as if nothing had happened."""
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    arguments += ("--config.train.eval_every=2",)
    programs.output("train", *arguments, "--config.train.steps=6", f"--workdir={whole}")
    programs.output("train", *arguments, "--config.train.steps=4", f"--workdir={workdir}")
    damaged = workdir / "checkpoints" / "4"
    flip(largest(damaged))

    done = programs.run("evaluate", f"--workdir={workdir}", "--checkpoint=latest")
    assert done.returncode == 0 and "step 2" in done.stdout
    assert done.stderr.startswith(f"checkpoint {damaged} is damaged (state/") and done.stderr.count("\n") == 1
    assert done.stderr.endswith("has changed since it was saved); using step 2\n")

    done = programs.run("train", *arguments, "--config.train.steps=6", f"--workdir={workdir}")
    assert done.returncode == 0 and "resuming from step 2" in done.stdout
    place = workdir / "checkpoints-damaged" / "4.1"
    assert done.stderr.endswith(f"has changed since it was saved); moved to {place}; using step 2\n")
    assert done.stderr.count("\n") == 1 and largest(place).is_file()
    assert checkpoints(workdir) == checkpoints(whole)
    assert_same_end(workdir, whole)


def test_killed_in_the_middle_of_a_save(programs, arguments, tmp_path):
    """After each `kill -9` all named checkpoints are complete; the run resumes from the last one and ends equal."""
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    arguments += ("--config.model.features=512", "--config.train.eval_every=1", "--config.train.steps=60")
    programs.output("train", *arguments, f"--workdir={whole}")
    rng, cut_off = np.random.default_rng(0), 0
    last = 0
    while cut_off < KILLS:
        process = programs.start("train", *arguments, f"--workdir={workdir}", PYTHONUNBUFFERED="1")
        try:
            for line in process.stdout:  # printed after the remains of the last kill were removed
                if "parameters, pattern" in line:
                    break
            assert not last or process.stdout.readline() == f"resuming from step {last}\n"
            temporary = workdir / "checkpoints" / f"{last + 1 + rng.integers(2)}.orbax-checkpoint-tmp"
            while not temporary.exists():
                assert process.poll() is None, process.communicate()
                time.sleep(0.0005)
            time.sleep(rng.uniform(0, 0.05))
            process.send_signal(signal.SIGKILL)
            _, error = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == -signal.SIGKILL and error == ""
        cut_off += temporary.exists()
        assert max(checkpoints(workdir), default=0) >= last
        last = max(checkpoints(workdir), default=0)
        for step in checkpoints(workdir):
            folder = workdir / "checkpoints" / str(step)
            assert (folder / "SHA256SUMS").is_file() and find_damage(folder) is None
    shown = programs.output("train", *arguments, f"--workdir={workdir}")
    assert f"resuming from step {last}\n" in shown and 0 < last < 60
    assert checkpoints(workdir) == checkpoints(whole)
    assert_same_end(workdir, whole)


def test_full_disk(programs, arguments, small_disk, tmp_path):
    """One line; the last complete checkpoint can be read, and with more space the run ends as an undisturbed one."""
    workdir, whole = small_disk / "run", tmp_path / "whole"
    arguments += ("--config.train.eval_every=5", "--config.train.steps=30", "--config.train.keep=1000")
    programs.output("train", *arguments, f"--workdir={whole}")
    done = programs.run("train", *arguments, f"--workdir={workdir}")
    last = checkpoints(workdir)[-1]
    assert done.returncode == 2 and 5 <= last < 30
    # Either the save in the background or a line of metrics finds the disk full first.
    what = (
        rf"checkpoint {last + 5} cannot be saved in {workdir}/checkpoints \(No space left on device\); "
        rf"the last complete one is step {last}|cannot write {workdir}/\S+ \(No space left on device\)"
    )
    assert re.fullmatch(rf"error: ({what}); .* run again to resume\n", done.stderr)
    for line in (workdir / "metrics.jsonl").read_text(encoding="utf-8").splitlines():
        json.loads(line)
    subprocess.run(["mount", "-o", "remount,size=9m", small_disk], check=True)
    assert f"step {last}" in programs.output("evaluate", f"--workdir={workdir}", "--checkpoint=latest")
    assert f"resuming from step {last}" in programs.output("train", *arguments, f"--workdir={workdir}")
    assert_same_end(workdir, whole)


@pytest.mark.parametrize("when", ["compilation of the first step", "evaluation"])
def test_terminated_while_it_computes(programs, arguments, tmp_path, when):
    """The current computation is finished and saved, and the run resumes from there."""
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    arguments += ("--config.train.eval_every=3", "--config.train.steps=6")
    programs.output("train", *arguments, f"--workdir={whole}")
    last = 0 if when.startswith("compilation") else 3
    # Without the compiled programs of the run above, there is time to send the signal.
    process = programs.start(
        "train", *arguments, f"--workdir={workdir}", JAX_COMPILATION_CACHE_DIR=str(tmp_path / "none")
    )
    try:
        while not any(record["step"] == last for record in records(workdir)):
            assert process.poll() is None, process.communicate()
            time.sleep(0.001)
        process.send_signal(signal.SIGTERM)
        assert [record["step"] for record in records(workdir)] == list(range(last + 1))  # no later records
        shown, error = process.communicate(timeout=300)
    finally:
        process.kill()
    step = last or 1
    assert (process.returncode, error) == (0, "")
    assert f"stopped by signal 15; saved step {step}; run again to resume" in shown
    assert checkpoints(workdir) == [step]
    assert f"resuming from step {step}" in programs.output("train", *arguments, f"--workdir={workdir}")
    assert_same_end(workdir, whole)


def test_text_cut_between_two_runs(programs, arguments, text, tmp_path):
    """Half of the text has the same characters, and the same tokens up to its end."""
    workdir = tmp_path / "run"
    arguments += ("--config.train.eval_every=2", f"--workdir={workdir}")
    programs.output("train", *arguments, "--config.train.steps=2")
    before = {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()}
    text.write_bytes(text.read_bytes()[: text.stat().st_size // 2])
    done = programs.run("train", *arguments, "--config.train.steps=4")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert f"the data are not those that workdir {workdir} was trained on; use another workdir" in done.stderr
    assert {path: path.read_bytes() for path in workdir.rglob("*") if path.is_file()} == before
    write_text(text)
    assert "resuming from step 2" in programs.output(
        "train", *arguments, "--config.train.steps=4", f"--workdir={workdir}"
    )
