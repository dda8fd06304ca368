"""What a run loses when the machine fails it: real processes, real files, and nothing beyond the last whole save."""

import pathlib

from xlstm_jax.train.metrics import read_metrics

ARGUMENTS = (
    "--config=configs/char_lm.py:tiny",
    "--config.model.pattern=r",
    "--config.model.recurrent.cell=rnn",
    "--config.sample.length=0",
)


def steps(workdir: pathlib.Path, folder: str = "checkpoints") -> list[str]:
    """Names in order of their numbers; temporary ones are left out."""
    names = [path.name for path in (workdir / folder).glob("*") if path.name.replace(".", "").isdigit()]
    return sorted(names, key=float)


def losses(workdir: pathlib.Path) -> list[tuple]:
    """All lines but for what a clock measured."""
    return [
        {key: value for key, value in record.items() if key != "train/tokens_per_second"}
        for record in read_metrics(workdir)
    ]


def flip_last_bit(path: pathlib.Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def arrays(step: pathlib.Path) -> pathlib.Path:
    """The largest file of a checkpoint."""
    return max((path for path in step.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def test_flipped_bytes_in_the_latest_checkpoint(programs, text, tmp_path):
    """The one before is taken, by reading programs and by training, which ends as if nothing had been."""
    workdir, whole = tmp_path / "run", tmp_path / "whole"
    arguments = (*ARGUMENTS, f"--config.data.path={text}", "--config.train.eval_every=2")
    programs.output("train", *arguments, "--config.train.steps=6", f"--workdir={whole}")
    programs.output("train", *arguments, "--config.train.steps=4", f"--workdir={workdir}")
    damaged = workdir / "checkpoints" / "4"
    flip_last_bit(arrays(damaged))

    done = programs.run("evaluate", f"--workdir={workdir}", "--checkpoint=latest")
    assert done.returncode == 0 and "step 2" in done.stdout
    assert done.stderr.startswith(f"checkpoint {damaged} is damaged (state/") and done.stderr.count("\n") == 1
    assert done.stderr.endswith("is not as it was saved); step 2 is taken\n")

    done = programs.run("train", *arguments, "--config.train.steps=6", f"--workdir={workdir}")
    assert done.returncode == 0 and "going on from step 2" in done.stdout
    place = workdir / "checkpoints-damaged" / "4.1"
    assert done.stderr.endswith(f"is not as it was saved): moved to {place}; step 2 is taken\n")
    assert done.stderr.count("\n") == 1 and arrays(place).is_file()
    assert losses(workdir) == losses(whole) and steps(workdir) == steps(whole)
