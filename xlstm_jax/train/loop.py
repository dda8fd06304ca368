"""The training loop: from a locked config to a workdir with checkpoints, metrics and a figure."""

import collections
import math
import signal
from pathlib import Path
from typing import Any

import jax
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from rich.console import Console

from xlstm_jax.console import plain_console
from xlstm_jax.errors import UsageError
from xlstm_jax.files import replacing, write_json
from xlstm_jax.tasks import Task
from xlstm_jax.train.build import Parts, build, parameter_count
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.flops import StepCost, step_cost
from xlstm_jax.train.interruption import Interrupted, peers_watched
from xlstm_jax.train.profiling import Profile, check_steps
from xlstm_jax.train.step import abstract_state, compiled_step, init_state
from xlstm_jax.train.workdir.checkpoint import Checkpoints
from xlstm_jax.train.workdir.folder import CODEC, CONFIG, check_workdir, locked
from xlstm_jax.train.workdir.lock import Lock, check_free
from xlstm_jax.train.workdir.metrics import SAMPLE, MetricWriter, draw_losses, read_metrics
from xlstm_jax.train.workdir.progress import TrainProgress

# Metrics are read this many steps late, when they are long computed, so that the device never waits for the host.
LAG = 2


def train(config: ConfigDict, workdir: str | Path, profile_steps: tuple[int, int] | None = None) -> int:
    """Trains as `config` says; a run found in the workdir is resumed from its latest checkpoint.

    Leaves `config.json`, `codec.json`, `metrics.jsonl`, TensorBoard events, `loss.png`, `checkpoints/` and, once it has
    ended, `sample.txt` if the task shows an example.

    Args:
        config: see `configs/base.py`.
        workdir: a folder, made where it is not there.
        profile_steps: first and last of the steps to be traced under `profile/`.

    Returns:
        The exit status: 0, or 130 after Ctrl-C.

    Raises:
        Held: another process trains in the workdir.
        PeerLost: of several processes, another one has ended.
        UsageError: the config cannot work, the workdir holds another run, the loss is not finite, or steps that are to
            be traced are not taken.
    """
    workdir, values = Path(workdir), config.to_dict()
    check_workdir(workdir, values)
    if jax.process_count() == 1:
        check_free(workdir)  # before the data are read, which may take long
    parts = build(values)  # reads the data: nothing is written before everything that can be wrong with it has shown
    check_steps(profile_steps, 0, parts.sections.train.steps)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"workdir {workdir} cannot be made ({error.strerror}); give another folder") from error
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("all processes have read the workdir as it was")
    with locked(workdir) as lock:
        check_workdir(workdir, values)  # as another run may have left it since
        return _train(parts, values, workdir, profile_steps, lock)


def _train(parts: Parts, values: dict, workdir: Path, profile_steps: tuple[int, int] | None, lock: Lock) -> int:
    primary = jax.process_index() == 0
    console = plain_console(quiet=not primary)
    options, task = parts.sections.train, parts.task
    cost = step_cost(parts, abstract_state(parts).params)
    with Checkpoints(workdir, options.keep, best=task.best) as checkpoints, Interrupted() as interrupted:
        with jax.set_mesh(parts.placement.mesh):
            state, iterator, first = _start(parts, checkpoints, workdir)
            profile = Profile(workdir, profile_steps, first, options.steps)
            if primary:
                write_json(workdir / CONFIG, values)
                write_json(workdir / CODEC, task.codec.to_json())
            _announce(console, parts, state, first, cost)
            if first < options.steps:
                with peers_watched(checkpoints):
                    state = _loop(
                        parts, state, iterator, first, checkpoints, workdir, console, interrupted, cost, profile, lock
                    )
            checkpoints.wait()
            if int(state.step) == options.steps:
                _score_held_out(parts, state, checkpoints, workdir, console)
        if primary:
            draw_losses(workdir, task.unit)
        if int(state.step) == options.steps:
            _show_example(parts, state, checkpoints, workdir, console)
            console.print(f"checkpoints, metrics.jsonl and loss.png are in {workdir}")
    return 130 if interrupted.signal == signal.SIGINT else 0


def _start(parts: Parts, checkpoints: Checkpoints, workdir: Path) -> tuple[Any, Any, int]:
    """The state and the data's iterator to begin with, and the number of steps already taken."""
    task, seed = parts.task, parts.sections.seed
    iterator = iter(task.train_batches(seed, rows=parts.placement.rows))
    latest = checkpoints.latest_step()
    if latest is None:
        return init_state(parts), iterator, 0
    if (steps := parts.sections.train.steps) < latest:
        raise UsageError(f"train.steps {steps} is below the {latest} done in workdir {workdir}; raise it")
    other_data = UsageError(f"the data are not those that workdir {workdir} was trained on; use another workdir")
    saved = task.codec_from_json(checkpoints.codec(latest))  # None: of a version in which it had none
    if saved is not None and saved.to_json() != task.codec.to_json():  # shapes would differ too, and say less
        raise other_data
    restored = checkpoints.restore(latest, abstract_state(parts))
    if restored.data["fingerprint"] != task.fingerprint():
        raise other_data
    iterator.set_state(restored.data["iterator"])
    return restored.state, iterator, latest


def _announce(console: Console, parts: Parts, state: Any, first: int, cost: StepCost) -> None:
    steps = parts.sections.train.steps
    console.print(
        f"{parameter_count(state.params):,} parameters, pattern {parts.sections.model.pattern}; "
        f"{parts.task.summary()}; {cost}; on {jax.devices()[0].device_kind}"
    )
    if first >= steps:
        console.print(f"step {first} of {steps} is already done; raise train.steps to train longer")
    elif first:
        console.print(f"resuming from step {first}")


def _loop(parts, state, iterator, first, checkpoints, workdir, console, interrupted, cost, profile, lock):
    """Steps, metrics, evaluations and checkpoints up to `train.steps` or an interruption; the state reached."""
    task, options, placement, step_fn = parts.task, parts.sections.train, parts.placement, compiled_step(parts)
    tokens_per_step = _tokens(task.axes(parts.example), parts.example)
    fingerprint = task.fingerprint()
    writer = MetricWriter(workdir, first, primary=jax.process_index() == 0)
    if not first:
        writer.write(0, {"model/parameters": parameter_count(state.params)})
    pending: collections.deque[tuple[int, dict[str, jax.Array]]] = collections.deque()

    def save(step: int, metric: float | None = None) -> None:
        data = {"iterator": iterator.get_state(), "fingerprint": fingerprint}
        checkpoints.save(step, state, data, task.codec.to_json(), metric)

    in_a_row = 0  # steps skipped, up to the last one read

    def read_pending(keep: int) -> None:
        nonlocal in_a_row
        while len(pending) > keep:
            step, metrics = pending.popleft()
            values = {name: float(value) for name, value in metrics.items()}
            interrupted.anywhere |= values.pop("stop", 0.0) > 0
            finite = math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])
            in_a_row = 0 if finite else in_a_row + 1
            if not finite:
                what = f"loss {values.pop('loss')} with gradient norm {values.pop('grad_norm')}"
                if in_a_row > options.max_skipped:
                    before = f", after {in_a_row - 1} more skipped in a row" if in_a_row > 1 else ""
                    raise _diverged(what, f"{step}{before}", checkpoints, workdir)
                progress.say(f"step {step} skipped: {what} ({values['skipped']:.0f} skipped so far)")
            progress.update(step, values.get("loss", math.nan))
            if step % options.log_every == 0 or step in (1, options.steps):
                record = {f"train/{name}": value for name, value in values.items()}
                rate = progress.measure(step)
                speed = {"train/tokens_per_second": rate, **cost.metrics(rate / tokens_per_step)}
                writer.write(step, {**record, **speed})

    try:
        with profile, TrainProgress(console, first, options.steps, tokens_per_step) as progress:
            for step in range(first + 1, options.steps + 1):
                lock.check()
                batch = placement.batch(next(iterator))
                state, metrics = profile.run(step, step_fn, state, batch)
                if jax.process_count() > 1:
                    metrics["stop"] = placement.any(bool(interrupted))
                pending.append((step, metrics))
                read_pending(LAG)
                if step % options.eval_every == 0 or step == options.steps:
                    read_pending(0)
                    paused = progress.pause()
                    results = _evaluated(parts, state.params, step, checkpoints, workdir, progress)
                    writer.write(step, results)
                    save(step, results[f"{task.evaluated[0]}/{task.best[0]}"])
                    progress.resume(paused)
                elif interrupted.everywhere:
                    read_pending(0)
                    save(step)
                if interrupted.everywhere and step < options.steps:
                    checkpoints.wait()
                    progress.say(f"stopped by {interrupted.what}; saved step {step}; run again to resume")
                    break
    finally:
        writer.close()
    return state


def _evaluated(parts, params, step: int, checkpoints, workdir: Path, progress) -> dict[str, float]:
    """Metrics of the task's splits, by SPLIT/NAME."""
    results, carry = {}, parts.sections.evaluation.carry
    for split in parts.task.evaluated:
        result = evaluate(parts, params, split, carry=carry)
        if not math.isfinite(result["loss"]):  # no checkpoint of it would be of use
            raise _diverged(f"{split} loss {result['loss']}", f"{step}", checkpoints, workdir)
        progress.say(f"step {step}  {parts.task.describe(result, split, carry=carry)}")
        results |= {f"{split}/{name}": value for name, value in result.items()}
    return results


def _score_held_out(parts: Parts, state: Any, checkpoints: Checkpoints, workdir: Path, console: Console) -> None:
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


def _diverged(what: str, where: str, checkpoints: Checkpoints, workdir: Path) -> UsageError:
    checkpoints.wait()
    last = checkpoints.latest_step()
    good = f"the last good checkpoint is step {last} in {workdir}" if last else "no checkpoint was saved before it"
    return UsageError(
        f"{what} is not finite at step {where}; {good}; "
        "lower optimizer.learning_rate or raise optimizer.warmup_steps, and use another workdir"
    )


def _show_example(parts: Parts, state: Any, checkpoints: Checkpoints, workdir: Path, console: Console) -> None:
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


def _tokens(axes: Any, batch: Any) -> int:
    """Steps of all rows in a batch, padding included; rows, where its arrays have no axis of time."""
    leaves, form = jax.tree.flatten(batch)
    for leaf, names in zip(leaves, form.flatten_up_to(axes), strict=True):
        if names[:2] == ("batch", "time"):
            return leaf.shape[0] * leaf.shape[1]
    return leaves[0].shape[0]
