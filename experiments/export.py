"""Write a trained run as one file for serving: python -m experiments.export --workdir=/tmp/lstm --out=/tmp/lstm.zip

A language model becomes programs that run with jax and numpy alone, without this package: docs/serving.md. Any other
task becomes a file that `experiments.predict --exported=FILE` reads.
"""

from pathlib import Path

from absl import flags

from experiments.programs import cli
from xlstm_jax.errors import UsageError

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
_OUT = flags.DEFINE_string("out", None, "file to write")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (by the task's validation metric), latest, or a step")
_PLATFORMS = flags.DEFINE_list("platforms", ["cpu"], "platforms to run on, with commas between: cpu, cuda, rocm, tpu")
_PREFILL_CHUNK = flags.DEFINE_integer(
    "prefill_chunk",
    64,
    "of a language model: tokens of a prompt that are read at once",
    lower_bound=1,
    upper_bound=cli.INT32_MOST,
)
_BATCH = flags.DEFINE_integer(
    "batch",
    None,
    "of a language model: fixed number of rows; not given: any",
    lower_bound=1,
    upper_bound=cli.MOST,
)
_LONGEST = flags.DEFINE_integer(
    "longest", 128, "of other tasks: steps of the longest input", lower_bound=1, upper_bound=2**16
)


def main() -> None:
    out = Path(_OUT.value)
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UsageError(f"--out={out} is a folder, or in a folder that does not exist; give a file in one that does")
    cli.start_jax()
    from xlstm_jax.generate.export import write_export
    from xlstm_jax.models import LanguageModel
    from xlstm_jax.train.predictor import write_predictor
    from xlstm_jax.train.workdir import saved

    trained = saved.load(_WORKDIR.value, _CHECKPOINT.value)
    parts, step, model = trained.parts, trained.step, trained.model
    if isinstance(model, LanguageModel):
        options = {"platforms": _PLATFORMS.value, "prefill_chunk": _PREFILL_CHUNK.value, "batch": _BATCH.value}
        about = {"step": step, "pattern": parts.sections.model.pattern}
        write_export(out, model, parts.task.codec, **options, about=about)
        what = "any number of rows" if _BATCH.value is None else f"{_BATCH.value} rows"
    else:
        write_predictor(out, trained, platforms=_PLATFORMS.value, longest=_LONGEST.value)
        what = f"inputs of up to {_LONGEST.value} steps"
    print(f"step {step} for {', '.join(_PLATFORMS.value)}, {what}, {out.stat().st_size / 1e6:.2f} MB, written to {out}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir", "out"])
    cli.run(main, smaller="lower --prefill_chunk or --batch")
