"""The first 50 training losses of several configs, recorded once: rebuilding the code must change no number.

The larger configs are compared over the first 11 steps and then stopped: scoring the validation text would take longer
than the steps. With XLSTM_JAX_ALL_STEPS=1 all 50 are compared. `python -m tests.train.test_first_losses` records them
again; do so only after a change that is meant to change numbers.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from xlstm_jax.train.workdir.metrics import read_metrics

RECORDED = Path(__file__).parent / "golden" / "first_losses.json"
STEPS, FEW = 50, 11
QUICK = ("digits", "adding")  # take seconds for all steps
MIXTURE = "tinyshakespeare:0.7,stdlib:0.3"
NO_SAMPLE = {"sample.length": 0}
RUNS = {
    "char_lm": ("configs/char_lm.py:xlstm", NO_SAMPLE),
    "quickstart": ("configs/quickstart.py", NO_SAMPLE),
    "formal_language": ("configs/formal_language.py:lstm", {}),
    "digits": ("configs/digits.py:slstm", {}),
    "adding": ("configs/adding.py:gru", {}),
    "recall": ("configs/recall.py:mamba2", {}),
    "packed_mixture": (
        "configs/char_lm.py:xlstm",
        NO_SAMPLE
        | {
            "data.tokenizer": "byte",
            "data.mixture": MIXTURE,
            "data.sampling": "packed",
            "data.document_separator": "\n\n",
        },
    ),
}
LIMIT = 1e-6  # on the processor and the versions that the losses were recorded with
ELSEWHERE = 1e-3  # another processor or version of XLA sums in another order


def losses(name: str, workdir: Path, steps: int) -> list[float]:
    """Trains as a user would, for at least that many steps, and reads the losses that the run logged."""
    config, changes = RUNS[name]
    changes = changes | {
        "train.steps": STEPS,
        "train.log_every": 1,
        "train.eval_every": STEPS,
        "optimizer.warmup_steps": 10,
    }
    command = [sys.executable, "-m", "experiments.train", f"--config={config}", f"--workdir={workdir}"]
    command += [f"--config.{key}={value}" for key, value in changes.items()]
    with tempfile.TemporaryFile("w+") as said, subprocess.Popen(command, stdout=said, stderr=said) as process:
        while process.poll() is None and len(_logged(workdir)) < steps:
            time.sleep(0.2)
        if steps < STEPS:
            process.terminate()  # saves the step reached and leaves
        process.wait()
        said.seek(0)
        assert process.returncode == 0, said.read()
    return _logged(workdir)[:steps]


def _logged(workdir: Path) -> list[float]:
    return [record["train/loss"] for record in read_metrics(workdir) if "train/loss" in record]


def surroundings() -> str:
    """What decides the last digits: the versions, and the vector instructions of the processor."""
    cpu = Path("/proc/cpuinfo")
    wide = "avx512f" in cpu.read_text() if cpu.is_file() else None
    return f"python {platform.python_version()}, jax {jax.__version__}, avx512 {wide}"


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_first_losses_are_those_recorded(name, tmp_path):
    if RUNS[name][0].startswith("configs/char_lm") and "XLSTM_JAX_DATA_MIRROR" not in os.environ:
        pytest.skip("tinyshakespeare is downloaded, or read from XLSTM_JAX_DATA_MIRROR, which is not set")
    recorded = json.loads(RECORDED.read_text())
    here = surroundings()
    known = {key: runs[name] for key, runs in recorded.items() if _same_data(name, key)}
    if not known:
        pytest.skip(
            f"the standard library of this Python is another text than the one recorded ({', '.join(recorded)})"
        )
    limit = LIMIT if here in known else ELSEWHERE
    expected = known.get(here) or next(iter(known.values()))
    steps = STEPS if name in QUICK or os.environ.get("XLSTM_JAX_ALL_STEPS") else FEW
    got = losses(name, tmp_path / "run", steps)
    np.testing.assert_allclose(got, expected[:steps], rtol=limit, atol=limit)


def _same_data(name: str, key: str) -> bool:
    """Whether a run reads the same text as the recorded one: that of some is Python's own standard library."""
    uses_stdlib = name in ("quickstart", "packed_mixture")
    return not uses_stdlib or key.split(",")[0] == surroundings().split(",")[0]


if __name__ == "__main__":
    everything = json.loads(RECORDED.read_text()) if RECORDED.is_file() else {}
    with tempfile.TemporaryDirectory() as folder:
        for run in sys.argv[1:] or RUNS:
            everything.setdefault(surroundings(), {})[run] = losses(run, Path(folder) / run, STEPS)
            RECORDED.write_text(json.dumps(everything, indent=1) + "\n")
            print(run, hashlib.sha256(repr(everything[surroundings()][run]).encode()).hexdigest()[:12], flush=True)
