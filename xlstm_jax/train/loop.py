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

from xlstm_jax.data.console import plain_console
from xlstm_jax.data.tokenizers import save_tokenizer
from xlstm_jax.errors import UsageError
from xlstm_jax.files import replacing, write_json
from xlstm_jax.generate import sample_text
from xlstm_jax.models import unscanned
from xlstm_jax.train.checkpoint import Checkpoints
from xlstm_jax.train.flops import StepCost, step_cost
from xlstm_jax.train.interruption import Interrupted, peers_watched
from xlstm_jax.train.lock import Lock, check_free
from xlstm_jax.train.metrics import SAMPLE, MetricWriter, draw_losses
from xlstm_jax.train.profiling import Profile, check_steps
from xlstm_jax.train.progress import TrainProgress
from xlstm_jax.train.run import Run, parameter_count
from xlstm_jax.train.workdir import CONFIG, check_workdir, locked

# Metrics are read this many steps late, when they are long computed, so that the device never waits for the host.
LAG = 2


def train(config: ConfigDict, workdir: str | Path, profile_steps: tuple[int, int] | None = None) -> int:
    """Train as `config` says; a workdir with a checkpoint is taken up where it stopped.

    Leaves `config.json`, `tokenizer.json`, `metrics.jsonl`, TensorBoard events, `loss.png`, `checkpoints/` and, once at
    its end, `sample.txt`.

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
    run = Run(values)  # reads the data: nothing is written before all that can be wrong with it has shown
    check_steps(profile_steps, 0, run.train.steps)
    try:
        workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"workdir {workdir} cannot be made ({error.strerror}); give another folder") from error
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices("all processes have read the workdir as it was")
    with locked(workdir) as lock:
        check_workdir(workdir, values)  # as another run may have left it since
        return _train(run, values, workdir, profile_steps, lock)


def _train(run: Run, values: dict, workdir: Path, profile_steps: tuple[int, int] | None, lock: Lock) -> int:
    primary = jax.process_index() == 0
    console = plain_console(quiet=not primary)
    cost = step_cost(run, run.abstract_state.params)
    with Checkpoints(workdir, run.train.keep) as checkpoints, Interrupted() as interrupted:
        with jax.set_mesh(run.placement.mesh):
            state, iterator, first = _start(run, checkpoints, workdir)
            profile = Profile(workdir, profile_steps, first, run.train.steps)
            if primary:
                write_json(workdir / CONFIG, values)
                save_tokenizer(run.task.tokenizer, workdir / "tokenizer.json")
            _announce(console, run, state, first, cost)
            if first < run.train.steps:
                with peers_watched(checkpoints):
                    state = _loop(
                        run, state, iterator, first, checkpoints, workdir, console, interrupted, cost, profile, lock
                    )
            checkpoints.wait()
        if primary:
            draw_losses(workdir, run.task.loss_unit)
        if int(state.step) == run.train.steps:
            _show_sample(run, state, checkpoints, workdir, console)
            console.print(f"checkpoints, metrics.jsonl and loss.png are in {workdir}")
    return 130 if interrupted.signal == signal.SIGINT else 0


def _start(run: Run, checkpoints: Checkpoints, workdir: Path) -> tuple[Any, Any, int]:
    """The state and the data's iterator to begin with, and the number of steps already taken."""
    iterator = run.train_batches()
    latest = checkpoints.latest_step()
    if latest is None:
        return run.init(), iterator, 0
    if run.train.steps < latest:
        raise UsageError(f"train.steps {run.train.steps} is under the {latest} done in workdir {workdir}; raise it")
    other_text = UsageError(f"the text is not the one that workdir {workdir} was trained on; use another workdir")
    if checkpoints.tokenizer(latest) != run.task.tokenizer.to_json():  # the shapes would differ too, with less to say
        raise other_text
    restored = checkpoints.restore(latest, run.abstract_state)
    if restored.data["fingerprint"] != run.task.fingerprint():
        raise other_text
    iterator.set_state(restored.data["iterator"])
    return restored.state, iterator, latest


def _announce(console: Console, run: Run, state: Any, first: int, cost: StepCost) -> None:
    console.print(
        f"{parameter_count(state.params):,} parameters, pattern {run.model_config.pattern}, "
        f"vocabulary {run.model_config.vocab_size}; {run.task.summary()}; {cost}; on {jax.devices()[0].device_kind}"
    )
    if first >= run.train.steps:
        console.print(f"step {first} of {run.train.steps} is done already; train.steps can be raised")
    elif first:
        console.print(f"going on from step {first}")


def _loop(run, state, iterator, first, checkpoints, workdir, console, interrupted, cost, profile, lock):
    """Steps, metrics, evaluations and checkpoints up to `train.steps` or an interruption; the state reached."""
    tokens_per_step = run.task.config.batch_size * run.task.config.sequence_length
    fingerprint = run.task.fingerprint()
    writer = MetricWriter(workdir, first, primary=jax.process_index() == 0)
    if not first:
        writer.write(0, {"model/parameters": parameter_count(state.params)})
    pending: collections.deque[tuple[int, dict[str, jax.Array]]] = collections.deque()

    def save(step: int, validation_loss: float | None = None) -> None:
        data = {"iterator": iterator.get_state(), "fingerprint": fingerprint}
        checkpoints.save(step, state, data, run.task.tokenizer.to_json(), validation_loss)

    in_a_row = 0  # steps skipped, up to the last one read

    def read_metrics(keep: int) -> None:
        nonlocal in_a_row
        while len(pending) > keep:
            step, metrics = pending.popleft()
            values = {name: float(value) for name, value in metrics.items()}
            interrupted.anywhere |= values.pop("stop", 0.0) > 0
            finite = math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])
            in_a_row = 0 if finite else in_a_row + 1
            if not finite:
                what = f"loss {values.pop('loss')} with gradient norm {values.pop('grad_norm')}"
                if in_a_row > run.train.max_skipped:
                    before = f", after {in_a_row - 1} more skipped in a row" if in_a_row > 1 else ""
                    raise _diverged(what, f"{step}{before}", checkpoints, workdir)
                progress.say(f"step {step} skipped: {what} ({values['skipped']:.0f} skipped so far)")
            progress.update(step, values.get("loss", math.nan))
            if step % run.train.log_every == 0 or step in (1, run.train.steps):
                record = {f"train/{name}": value for name, value in values.items()}
                rate = progress.measure(step)
                speed = {"train/tokens_per_second": rate, **cost.metrics(rate / tokens_per_step)}
                writer.write(step, {**record, **speed})

    try:
        with profile, TrainProgress(console, first, run.train.steps, tokens_per_step) as progress:
            for step in range(first + 1, run.train.steps + 1):
                lock.check()
                batch = run.placement.batch(next(iterator))
                state, metrics = profile.run(step, run.step, state, batch)
                if jax.process_count() > 1:
                    metrics["stop"] = run.placement.any(bool(interrupted))
                pending.append((step, metrics))
                read_metrics(LAG)
                if step % run.train.eval_every == 0 or step == run.train.steps:
                    read_metrics(0)
                    paused = progress.pause()
                    results = _evaluated(run, state.params, step, checkpoints, workdir, progress)
                    writer.write(step, results)
                    save(step, results[f"{run.task.evaluated[0]}/loss"])
                    progress.resume(paused)
                elif interrupted.everywhere:
                    read_metrics(0)
                    save(step)
                if interrupted.everywhere and step < run.train.steps:
                    checkpoints.wait()
                    progress.say(f"stopped by {interrupted.what}; saved step {step}, run again to go on")
                    break
    finally:
        writer.close()
    return state


def _evaluated(run, params, step: int, checkpoints, workdir: Path, progress) -> dict[str, float]:
    """Metrics of the task's splits, by SPLIT/NAME."""
    results, carry = {}, run.evaluation.carry
    for split in run.task.evaluated:
        result = run.evaluate(params, split, carry=carry)
        if not math.isfinite(result["loss"]):  # a checkpoint of it would be no good one
            raise _diverged(f"{split} loss {result['loss']}", f"{step}", checkpoints, workdir)
        progress.say(f"step {step}  {run.task.describe(result, split, carry=carry)}")
        results |= {f"{split}/{name}": value for name, value in result.items()}
    return results


def _diverged(what: str, where: str, checkpoints: Checkpoints, workdir: Path) -> UsageError:
    checkpoints.wait()
    last = checkpoints.latest_step()
    good = f"the last good checkpoint is step {last} in {workdir}" if last else "no checkpoint was saved before it"
    return UsageError(
        f"{what} is not finite at step {where}; {good}; "
        "lower optimizer.learning_rate or raise optimizer.warmup_steps, and use another workdir"
    )


def _show_sample(run: Run, state: Any, checkpoints: Checkpoints, workdir: Path, console: Console) -> None:
    best = checkpoints.best_step()
    if best is None or not run.sample.length:
        return
    at_end = best == int(state.step)
    params = run.placement.local(state.params if at_end else checkpoints.restore_params(best, state.params))
    if jax.process_index():
        return
    text = sample_text(
        unscanned(run.model(params)),
        run.task.tokenizer,
        run.sample_prompt,
        length=run.sample.length,
        temperature=run.sample.temperature,
        seed=run.seed,
    )
    with replacing(workdir / SAMPLE) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")
    console.rule(f"sample from step {best}, the best")
    console.print(text)
    console.rule()
