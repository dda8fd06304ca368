"""Write a trained run as one file for serving: python -m experiments.export --workdir=/tmp/lstm --out=/tmp/lstm.zip

The file runs with jax and numpy alone, without this package: docs/serving.md.
"""

from pathlib import Path

from absl import flags

from experiments.programs import cli
from xlstm_jax.errors import UsageError

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
_OUT = flags.DEFINE_string("out", None, "file to write")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (lowest validation loss), latest, or a step")
_PLATFORMS = flags.DEFINE_list("platforms", ["cpu"], "what it is to run on: cpu, cuda, rocm, tpu; commas between")
_PREFILL_CHUNK = flags.DEFINE_integer(
    "prefill_chunk", 64, "tokens of a prompt that are read at once", lower_bound=1, upper_bound=cli.INT32_MOST
)
_BATCH = flags.DEFINE_integer(
    "batch", None, "rows, where not any number of them", lower_bound=1, upper_bound=cli.INT32_MOST
)


def main() -> None:
    out = Path(_OUT.value)
    if out.is_dir() or not out.absolute().parent.is_dir():
        raise UsageError(f"--out={out} is a folder, or in a folder that does not exist; give a file in one that does")
    cli.start_jax()
    from xlstm_jax.generate.export import write_export
    from xlstm_jax.train.workdir import saved

    trained = saved.load(_WORKDIR.value, _CHECKPOINT.value)
    parts, step = trained.parts, trained.step
    write_export(
        out,
        trained.model,
        parts.task.codec,
        platforms=_PLATFORMS.value,
        prefill_chunk=_PREFILL_CHUNK.value,
        batch=_BATCH.value,
        about={"step": step, "pattern": parts.sections.model.pattern},
    )
    rows = "any number of rows" if _BATCH.value is None else f"{_BATCH.value} rows"
    print(f"step {step} for {', '.join(_PLATFORMS.value)}, {rows}, {out.stat().st_size / 1e6:.2f} MB, written to {out}")


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir", "out"])
    cli.run(main, smaller="lower --prefill_chunk or --batch")
