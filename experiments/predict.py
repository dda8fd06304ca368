"""Ask a trained run about new input: python -m experiments.predict --workdir=/tmp/sentiment --input=reviews.txt

Each line of the input is one example; without --input, lines are read from standard input. Answers are shown for
people, or written as JSON lines with --output=FILE or --json. docs/tasks.md says what a line holds for each task.
Instead of a workdir, --exported takes a file that experiments.export wrote.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from absl import flags

from experiments.programs import cli
from xlstm_jax.errors import UsageError, one_line

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
_EXPORTED = flags.DEFINE_string("exported", None, "file that experiments.export wrote, instead of a run")
_INPUT = flags.DEFINE_string("input", "-", "file with one example per line; -: standard input")
_OUTPUT = flags.DEFINE_string("output", None, "file for the answers, as JSON lines; without it they are shown")
_JSON = flags.DEFINE_boolean("json", False, "show the answers as JSON lines")
_FIGURE = flags.DEFINE_string("figure", None, "image file for a figure of the first answers, for tasks that draw one")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (by the task's validation metric), latest, or a step")
_BATCH_SIZE = flags.DEFINE_integer("batch_size", 64, "examples at once", lower_bound=1, upper_bound=cli.INT32_MOST)


MOST_DRAWN = 12  # panels of a figure


def main() -> None:
    out, figure = _file("output", _OUTPUT.value), _file("figure", _FIGURE.value)
    cli.start_jax()
    predictor = _predictor()
    texts = _lines()
    examples = [_read(predictor.task, text, number, len(texts)) for number, text in enumerate(texts, start=1)]
    answers = _answers(predictor, examples)
    if figure is not None:
        answers = list(answers)
        _draw(predictor.task, answers, examples, texts, figure)
    records = ({"input": text} | answer for text, answer in zip(texts, answers, strict=True))
    if out is None:
        for record in records:
            shown = json.dumps(record, ensure_ascii=False) if _JSON.value else _readable(record, predictor.task.detail)
            print(shown, flush=True)
        return
    from xlstm_jax.files import replacing

    with replacing(out) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
    print(f"{len(texts)} answers of step {predictor.step} written to {out}")


def _file(flag: str, name: str | None) -> Path | None:
    """The path that a flag gives, in a folder that exists."""
    path = None if name is None else Path(name)
    if path is not None and (path.is_dir() or not path.absolute().parent.is_dir()):
        raise UsageError(f"--{flag}={path} is a folder, or its folder does not exist; give a file in one that does")
    return path


def _draw(task: Any, answers: list[dict[str, Any]], examples: list[Any], texts: list[str], path: Path) -> None:
    from experiments.programs.figures import panels, write_figure

    count = min(len(answers), MOST_DRAWN)
    figure, axes = panels(count)
    for ax, answer, example, text in zip(axes, answers, examples, texts, strict=False):
        task.draw(ax, answer, example)
        if count > 1:
            ax.set_title(text if len(text) <= 40 else text[:37] + "...", fontsize=8)
    write_figure(figure, path)


def _predictor() -> Any:
    from xlstm_jax.train.evaluate import predict
    from xlstm_jax.train.predictor import Predictor, load_predictor
    from xlstm_jax.train.workdir import saved

    if _EXPORTED.value:
        return load_predictor(_EXPORTED.value)
    parts, params, step = saved.load(_WORKDIR.value, _CHECKPOINT.value)
    return Predictor(parts.task, step, lambda batch: predict(parts, params, batch))


def _read(task: Any, text: str, number: int, count: int) -> Any:
    try:
        return task.read(text)
    except UsageError as error:
        raise UsageError(f"line {number} of {_name()}: {error}" if count > 1 else str(error)) from error


def _answers(predictor: Any, examples: list[Any]) -> Iterator[dict[str, Any]]:
    """The answer to each example, in batches of one size, so that few programs are compiled."""
    import jax

    from xlstm_jax.console import tracked

    task, size = predictor.task, min(_BATCH_SIZE.value, len(examples))
    for start in tracked(range(0, len(examples), size), "examples", unless=len(examples) < 1000):
        here = examples[start : start + size]
        predicted = predictor.run(task.collate(here + here[:1] * (size - len(here))))
        for row, example in enumerate(here):
            yield task.render(jax.tree.map(lambda leaf, row=row: leaf[row], predicted), example)


def _name() -> str:
    return "standard input" if _INPUT.value == "-" else repr(_INPUT.value)


def _lines() -> list[str]:
    try:
        data = sys.stdin.buffer.read() if _INPUT.value == "-" else Path(_INPUT.value).read_bytes()
        # Not `splitlines`, which also cuts at characters such as U+2028, which a text may hold.
        lines = data.decode("utf-8").replace("\r\n", "\n").removesuffix("\n").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read {_name()}: {one_line(error)}; give a file of UTF-8 text") from error
    if lines == [""]:
        raise UsageError(f"{_name()} is empty; give one example per line")
    return lines


def _readable(record: dict[str, Any], detail: tuple[str, ...]) -> str:
    """For people: the input, then each part of the answer that is not a `detail`."""

    def shown(value: Any) -> str:
        if isinstance(value, dict):
            return ", ".join(f"{name} {shown(part)}" for name, part in value.items())
        return f"{value:.4g}" if isinstance(value, float) else str(value)

    answer = "; ".join(f"{name}: {shown(value)}" for name, value in record.items() if name not in ("input", *detail))
    text = record["input"]
    return f"{text if len(text) <= 100 else text[:97] + '...'}\n    {answer}"


if __name__ == "__main__":
    flags.mark_flags_as_mutual_exclusive(["workdir", "exported"], required=True)
    cli.run(main, smaller="lower --batch_size")
