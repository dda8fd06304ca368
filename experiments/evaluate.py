"""Evaluate a trained run: python -m experiments.evaluate --workdir=/tmp/lstm --split=validation

With --json the metrics are one JSON object on standard output, for scripts. A language model can also be evaluated on
other texts than its own, and so can a checkpoint such as NX-AI/xLSTM-7b's:

    python -m experiments.evaluate --huggingface=FOLDER --texts=tinyshakespeare,my/folder
"""

import json
import math

from absl import flags

from experiments.programs import cli
from experiments.programs import official_folder as official
from xlstm_jax.errors import UsageError

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
_HUGGINGFACE = flags.DEFINE_string("huggingface", None, "folder of an official checkpoint, instead of a run")
_DTYPE = flags.DEFINE_string("dtype", "float32", "dtype of matrix products for --huggingface: float32 or bfloat16")
_TEXTS = flags.DEFINE_list(
    "texts", None, "names or paths of texts to evaluate on, each as a whole, instead of the run's own"
)
_SPLIT = flags.DEFINE_string("split", "validation", "what to evaluate on, such as test; --texts are taken whole")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (by the task's validation metric), latest, or a step")
_SEQUENCE_LENGTH = flags.DEFINE_integer(
    "sequence_length", None, "tokens per window; default: as in training", lower_bound=1, upper_bound=cli.INT32_MOST
)
_BATCH_SIZE = flags.DEFINE_integer(
    "batch_size", None, "windows per batch; default: as in training", lower_bound=1, upper_bound=cli.INT32_MOST
)
_CARRY = flags.DEFINE_boolean(
    "carry", None, "pass the state from window to window; default: evaluation.carry of the config"
)
_POSITIONS = flags.DEFINE_boolean(
    "positions", False, "instead: loss by position in windows of up to 16 times the training length"
)
_JSON = flags.DEFINE_boolean("json", False, "print one JSON object with the metrics, and nothing else")
_OUT = flags.DEFINE_string("out", None, "folder for the results; default: the workdir")

OFFICIAL_LENGTH, OFFICIAL_BATCH = 1024, 4  # defaults for --huggingface


def main() -> None:
    if _HUGGINGFACE.value and not (_TEXTS.value and _OUT.value):
        raise UsageError("--huggingface needs --texts, as a checkpoint comes without data, and --out for the result")
    if _JSON.value and _POSITIONS.value:
        raise UsageError("--json does not apply to --positions, which writes a JSON file of its own; leave one out")
    cli.start_jax()
    from xlstm_jax.files import write_json
    from xlstm_jax.train.evaluate import evaluate

    parts, params, about = _of_run() if _WORKDIR.value else _of_folder()
    which = f"step {about['step']} ({_CHECKPOINT.value})" if _WORKDIR.value else _HUGGINGFACE.value
    about["split"] = split = "all" if _TEXTS.value else _SPLIT.value
    about |= {"texts": _TEXTS.value} if _TEXTS.value else {}
    folder = cli.made_folder(_OUT.value or _WORKDIR.value)
    if _POSITIONS.value:
        from experiments.programs import position_figure as positions

        positions.report(parts, params, about, which, folder)
        return
    carry = parts.sections.evaluation.carry if _CARRY.value is None else _CARRY.value
    result = evaluate(parts, params, split, carry=carry)
    named = "-texts" if _TEXTS.value else ""
    path = folder / f"evaluation-{split}{named}{'-carry' if carry else ''}.json"
    record = about | {"carry": carry} | result
    write_json(path, record)
    if _JSON.value:
        print(json.dumps({name: _plain(value) for name, value in record.items()}))
    else:
        print(f"{which}  {parts.task.describe(result, split, carry=carry)}\nwritten to {path}")


def _of_run():
    from xlstm_jax.train.workdir import saved

    changes = _data()
    if unknown := saved.unknown_data(_WORKDIR.value, changes):
        flag = "--texts" if "mixture" in unknown else f"--{unknown[0]}"
        raise UsageError(f"{flag} does not apply to the data of this run; leave it out")
    parts, params, step = saved.load(_WORKDIR.value, _CHECKPOINT.value, data=changes)
    return parts, params, {"step": step}


def _of_folder():
    from flax import nnx

    from configs import base
    from xlstm_jax.train.build import build

    model, tokenizer = official.load(_HUGGINGFACE.value, _DTYPE.value)
    config = base.get_config().to_dict()
    sizes = {"sequence_length": OFFICIAL_LENGTH, "batch_size": OFFICIAL_BATCH}
    config["data"] |= {"tokenizer": tokenizer.kind, **sizes, **_data()}
    parts = build(config, tokenizer, model.config)
    return parts, nnx.to_pure_dict(nnx.split(model)[1]), {"folder": _HUGGINGFACE.value}


def _plain(value: object) -> object:
    """JSON has no NaN and no infinity."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


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
