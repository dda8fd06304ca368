"""Measure a trained run: python -m experiments.measure --measure=gradient_by_lag --workdir=/tmp/lstm

Writes measured-MEASURE.json to the workdir, and the curves as a figure, measured-MEASURE.png. A sweep with a `measure`
measures each of its runs, and its report plots the values.
"""

from absl import flags

from experiments.programs import cli

_MEASURE = flags.DEFINE_string("measure", None, "name of a measure, from experiments/measures or a plugin")
_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "latest", "best (by the task's validation metric), latest, or a step")


def main() -> None:
    cli.start_jax()
    from experiments.programs.figures import draw_measured
    from experiments.sweeping.measured import MEASURES, write_measured
    from xlstm_jax.train.workdir import saved

    parts, params, step = saved.load(_WORKDIR.value, _CHECKPOINT.value)  # imports the run's plugins
    measure = MEASURES.get(_MEASURE.value)
    measured = measure(parts, params)
    path = write_measured(_WORKDIR.value, _MEASURE.value, measured, step=step)
    figure = path.with_suffix(".png")
    draw_measured(measured, f"{_MEASURE.value} at step {step}", figure)
    print(f"step {step} ({_CHECKPOINT.value}) measured; written to {path} and {figure.name}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["measure", "workdir"])
    cli.run(main)
