"""Evaluate a trained run: python -m experiments.evaluate --workdir=/tmp/lstm --split=validation"""

from pathlib import Path

from absl import flags

from experiments import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
_SPLIT = flags.DEFINE_string("split", "validation", "validation or train")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (lowest validation loss), latest, or a step")
_CARRY = flags.DEFINE_boolean(
    "carry", None, "pass the state from window to window, or start each one empty; as the config says where not given"
)
_POSITIONS = flags.DEFINE_boolean(
    "positions", False, "instead: loss by position in windows of up to 16 times the training length"
)


def main() -> None:
    cli.start_jax()
    from xlstm_jax.files import write_json
    from xlstm_jax.train import saved

    run, params, step = saved.load(_WORKDIR.value, _CHECKPOINT.value)
    if _POSITIONS.value:
        from experiments import positions

        positions.report(run, params, _SPLIT.value, step, Path(_WORKDIR.value))
        return
    carry = run.evaluation.carry if _CARRY.value is None else _CARRY.value
    result = run.evaluate(params, _SPLIT.value, carry=carry)
    print(f"step {step} ({_CHECKPOINT.value})  {run.describe(result, _SPLIT.value, carry=carry)}")
    path = Path(_WORKDIR.value) / f"evaluation-{_SPLIT.value}{'-carry' if carry else ''}.json"
    write_json(path, {"step": step, "split": _SPLIT.value, "carry": carry, **result})
    print(f"written to {path}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir"])
    cli.run(main)
