"""A run that was stopped, killed and resumed equals an undisturbed run, bit by bit."""

import signal
import time

import pytest

from tests.experiments.runs import assert_same_end, checkpoints, records
from xlstm_jax.train.workdir.metrics import read_metrics

STEPS, EVERY = 400, 50


def interrupt(process, number, reached):
    """Sends the signal once `reached()` is true; returns the exit status and the output."""
    try:
        while process.poll() is None and not reached():
            time.sleep(0.005)
        process.send_signal(number)
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert "Traceback" not in err
    return process.returncode, out


@pytest.mark.slow
@pytest.mark.parametrize(("sampling", "pattern"), [("windows", "r"), ("stream", "ms")])
def test_stopped_and_killed_equals_uninterrupted(programs, text, tmp_path, sampling, pattern):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    arguments = (
        "--config=configs/char_lm.py:tiny",
        f"--config.data.path={text}",
        f"--config.data.sampling={sampling}",
        f"--config.model.pattern={pattern}",
        "--config.model.dropout=0.1",
        f"--config.train.steps={STEPS}",
        f"--config.train.eval_every={EVERY}",
        "--config.train.log_every=7",
        "--config.sample.length=0",
    )
    programs.output("train", *arguments, f"--workdir={whole}")

    def start():
        return programs.start("train", *arguments, f"--workdir={parts}")

    # After SIGTERM, as from a scheduler, the current step is saved.
    status, shown = interrupt(start(), signal.SIGTERM, lambda: len(read_metrics(parts)) > 3)
    stopped = checkpoints(parts)[-1]
    assert status == 0 and 0 < stopped < STEPS
    assert f"stopped by signal 15; saved step {stopped}" in shown
    assert max(record["step"] for record in records(parts)) <= stopped

    # kill -9 leaves no time to save: the steps after the last checkpoint are lost.
    status, _ = interrupt(start(), signal.SIGKILL, lambda: checkpoints(parts)[-1] > stopped)
    assert status == -signal.SIGKILL
    assert stopped < checkpoints(parts)[-1] < STEPS

    shown = programs.output("train", *arguments, f"--workdir={parts}")
    assert "resuming from step" in shown
    assert_same_end(parts, whole)
