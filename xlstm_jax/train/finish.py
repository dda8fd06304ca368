"""What a run does once its steps are taken: the best checkpoint's score on held-out splits, and its example."""

from pathlib import Path
from typing import Any

import jax
from rich.console import Console

from xlstm_jax.files import replacing
from xlstm_jax.tasks import Task
from xlstm_jax.train.build import Parts
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.workdir.checkpoint import Checkpoints
from xlstm_jax.train.workdir.metrics import SAMPLE, MetricWriter, read_metrics


def score_held_out(parts: Parts, state: Any, checkpoints: Checkpoints, workdir: Path, console: Console) -> None:
    """Scores the best checkpoint once on the splits that nothing was chosen on; the metrics have the last step."""
    done = {name for record in read_metrics(workdir) if record["step"] == int(state.step) for name in record}
    splits = [split for split in parts.task.held_out if f"{split}/loss" not in done]
    best = checkpoints.best_step()
    if not splits or best is None:
        return
    params, results = checkpoints.restore_params(best, state.params), {}
    for split in splits:
        result = evaluate(parts, params, split)
        console.print(f"best checkpoint, step {best}: {parts.task.describe(result, split, carry=False)}")
        results |= {f"{split}/{name}": value for name, value in result.items()}
    writer = MetricWriter(workdir, int(state.step), primary=jax.process_index() == 0)
    try:
        writer.write(int(state.step), results)
    finally:
        writer.close()


def show_example(parts: Parts, state: Any, checkpoints: Checkpoints, workdir: Path, console: Console) -> None:
    """Prints the task's example by the best checkpoint and writes it to `sample.txt`."""
    best, task = checkpoints.best_step(), parts.task
    if best is None or type(task).example is Task.example:
        return
    at_end = best == int(state.step)
    params = parts.placement.local(state.params if at_end else checkpoints.restore_params(best, state.params))
    if jax.process_index():
        return
    text = task.example(parts.model(params), parts.sections.sample, parts.sections.seed)
    if text is None:
        return
    with replacing(workdir / SAMPLE) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    console.rule(f"sample from step {best}, the best")
    console.print(text)
    console.rule()
