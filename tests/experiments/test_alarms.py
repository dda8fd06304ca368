"""A detector of a user's own file: trained, scored, asked and drawn by the programs."""

import json

import pytest

from configs import anomaly as configs
from tests.tasks.test_anomaly import options, waves, write
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved


@pytest.mark.slow
def test_a_file_of_ones_own(tmp_path, programs):
    """Trained, scored, asked, drawn: the anomaly is found when it begins."""
    path = write(tmp_path / "waves.csv", *waves()[:1], label=waves()[1])
    config = configs.get_config("lstm")
    config.data.update(options(path, threshold=20.0, held_out=0.2))
    config.model.features, config.mesh.data = 16, 1
    config.train.steps, config.train.eval_every, config.train.log_every = 300, 100, 100
    assert train(config, tmp_path / "run") == 0
    parts, params, _ = saved.load(tmp_path / "run")
    assert evaluate(parts, params, "test")["alarms"] == pytest.approx(1000 / 300, abs=4)
    values_NC, _ = waves(seed=1)
    other = write(tmp_path / "other.csv", values_NC)
    lines = tmp_path / "lines.txt"
    lines.write_text(f"{other}\n")
    given = (f"--workdir={tmp_path}/run", f"--input={lines}")
    done = programs.run("predict", *given, "--json", f"--figure={tmp_path}/f.png")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert "2020-01-13 12:00:00" in [alarm["from"] for alarm in answer["alarms"]] and len(answer["alarms"]) <= 4
    assert answer["highest"]["at"].startswith("2020-01-13 ") and (tmp_path / "f.png").stat().st_size > 5000
    write(tmp_path / "other.csv", values_NC, names="ac")
    done = programs.run("predict", *given, f"--figure={tmp_path}/g.png")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "has no column 'b'; it has 'a, c'" in done.stderr and not (tmp_path / "g.png").exists()
