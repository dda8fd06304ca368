"""Run a sweep: python -m experiments.sweep --sweep=experiments/sweeps/families.py --workdir=/tmp/families

Each run is an `experiments.train` with its own folder under WORKDIR/runs. The same command resumes a sweep that was
stopped: it skips finished runs and resumes unfinished ones from their last checkpoint. If a run fails, its error is
recorded and the sweep continues; `--retry` runs failed runs again. Several of these commands can share a workdir: each
takes runs that are left and waits for the runs of the others. `experiments.report` writes tables and figures.
"""

import os
import re

from absl import flags

from experiments.programs import cli

_SWEEP = flags.DEFINE_string(
    "sweep", None, "file or module of a sweep, such as experiments/sweeps/families.py; with a variant: FILE:tiny"
)
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the sweep")
_WORKERS = flags.DEFINE_integer(
    "num_workers",
    1,
    "number of runs at the same time, each on its share of the cores",
    lower_bound=1,
    upper_bound=cli.MOST,
)
_SHARD = flags.DEFINE_string(
    "shard",
    None,
    "K/N: the K-th of N slices, for use on several machines; default: all, or the slice of a Slurm array's task",
)
_RETRY = flags.DEFINE_boolean("retry", False, "run failed runs again")


def main() -> int:
    from experiments.sweeping.runner import load, run_all

    sweep = load(_SWEEP.value)
    index, count = _slice(_SHARD.value)
    return run_all(
        sweep,
        _SWEEP.value,
        _WORKDIR.value,
        runs=[*sweep.runs()][index::count],
        workers=_WORKERS.value,
        retry=_RETRY.value,
    )


def _slice(shard: str | None) -> tuple[int, int]:
    """Returns (index from 0, number of slices): from `shard`, else from Slurm's array, else (0, 1).

    Raises:
        UsageError: `shard` is not K/N, or the task ids of the array are not evenly spaced.
    """
    from xlstm_jax.errors import UsageError

    if shard is None and "SLURM_ARRAY_TASK_ID" in os.environ:
        own, first, last = (_slurm(name) for name in ("ID", "MIN", "MAX"))
        step = _slurm("STEP", 1)
        count = _slurm("COUNT", (last - first) // max(step, 1) + 1)
        if first + (count - 1) * step != last or own not in range(first, last + 1, max(step, 1)):
            raise UsageError(
                f"this Slurm array has {count} tasks from {first} to {last}, not evenly spaced (this is task {own}), "
                "so some runs would be left out; give --array=1-N, or --shard=K/N"
            )
        return (own - first) // step, count
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", shard or "1/1")
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard={shard} is not allowed; must be K/N with K from 1 to N, such as 3/8")
    return int(match[1]) - 1, int(match[2])


def _slurm(name: str, default: int | None = None) -> int:
    """Reads a number that Slurm sets for the tasks of an array."""
    from xlstm_jax.errors import UsageError

    variable = f"SLURM_ARRAY_TASK_{name}"
    text = os.environ.get(variable, "" if default is None else str(default))
    if not re.fullmatch(r"\d{1,9}", text):
        raise UsageError(f"{variable}={text!r} is not an integer; give --shard=K/N")
    return int(text)


if __name__ == "__main__":
    flags.mark_flags_as_required(["sweep", "workdir"])
    cli.run(main)
