"""Evaluate a trained run: python -m experiments.evaluate --workdir=/tmp/lstm --split=validation

Or a checkpoint such as NX-AI/xLSTM-7b's, or a run on other texts than its own, with the perplexity of each:

    python -m experiments.evaluate --huggingface=FOLDER --texts=tinyshakespeare,my/folder
"""

from pathlib import Path

from absl import flags

from experiments import cli, official
from xlstm_jax.errors import UsageError

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
_HUGGINGFACE = flags.DEFINE_string("huggingface", None, "folder of an official checkpoint, instead of a run")
_DTYPE = flags.DEFINE_string("dtype", "float32", "of an official checkpoint's products: float32 or bfloat16")
_TEXTS = flags.DEFINE_list(
    "texts", None, "names or paths of texts to evaluate on, each as a whole, instead of the run's own"
)
_SPLIT = flags.DEFINE_string("split", "validation", "validation, train or all; of other texts it is all")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (lowest validation loss), latest, or a step")
_SEQUENCE_LENGTH = flags.DEFINE_integer(
    "sequence_length", None, "tokens a window; as trained where not given", lower_bound=1, upper_bound=cli.INT32_MOST
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "windows at once; as trained where not given", lower_bound=1, upper_bound=cli.INT32_MOST
)
_CARRY = flags.DEFINE_boolean(
    "carry", None, "pass the state from window to window, or start each one empty; as the config says where not given"
)
_POSITIONS = flags.DEFINE_boolean(
    "positions", False, "instead: loss by position in windows of up to 16 times the training length"
)
_OUT = flags.DEFINE_string("out", None, "folder for what is written; the workdir where not given")

OFFICIAL_LENGTH, OFFICIAL_BATCH = 1024, 4  # of an official checkpoint, where the flags say nothing


def main() -> None:
    if _HUGGINGFACE.value and not (_TEXTS.value and _OUT.value):
        raise UsageError("--huggingface needs --texts, which it has none of its own of, and --out")
    cli.start_jax()
    from xlstm_jax.files import write_json

    run, params, about = _of_run() if _WORKDIR.value else _of_folder()
    which = f"step {about['step']} ({_CHECKPOINT.value})" if _WORKDIR.value else _HUGGINGFACE.value
    about["split"] = split = "all" if _TEXTS.value else _SPLIT.value
    about |= {"texts": _TEXTS.value} if _TEXTS.value else {}
    folder = Path(_OUT.value or _WORKDIR.value)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out={folder} cannot be made ({error.strerror}); give another folder") from error
    if _POSITIONS.value:
        from experiments import positions

        positions.report(run, params, about, which, folder)
        return
    carry = run.evaluation.carry if _CARRY.value is None else _CARRY.value
    result = run.evaluate(params, split, carry=carry)
    print(f"{which}  {run.task.describe(result, split, carry=carry)}")
    named = "-texts" if _TEXTS.value else ""
    path = folder / f"evaluation-{split}{named}{'-carry' if carry else ''}.json"
    write_json(path, about | {"carry": carry} | result)
    print(f"written to {path}")


def _of_run():
    from xlstm_jax.train import saved

    run, params, step = saved.load(_WORKDIR.value, _CHECKPOINT.value, data=_data())
    return run, params, {"step": step}


def _of_folder():
    from flax import nnx

    from configs import base
    from xlstm_jax.train.run import Run

    model, tokenizer = official.load(_HUGGINGFACE.value, _DTYPE.value)
    config = base.get_config().to_dict()
    sizes = {"sequence_length": OFFICIAL_LENGTH, "batch_size": OFFICIAL_BATCH}
    config["data"] |= {"tokenizer": tokenizer.kind, **sizes, **_data()}
    run = Run(config, tokenizer, model.config)
    return run, nnx.to_pure_dict(nnx.split(model)[1]), {"folder": _HUGGINGFACE.value}


def _data() -> dict[str, object]:
    """What the flags change of the config's data."""
    changes = {"sequence_length": _SEQUENCE_LENGTH.value, "batch_size": _BATCH_SIZE.value}
    if _TEXTS.value:
        # Each text counts by its size; stream sampling is for training on one.
        changes |= {"mixture": ",".join(f"{text}:1" for text in _TEXTS.value), "sampling": "windows"}
    return {key: value for key, value in changes.items() if value is not None}


if __name__ == "__main__":
    flags.mark_flags_as_mutual_exclusive(["workdir", "huggingface"], required=True)
    cli.run(main, smaller="lower --batch_size or --sequence_length")
