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
from xlstm_jax.files import write_json
from xlstm_jax.train.build import Parts, build, parameter_count
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.finish import score_held_out, show_example
from xlstm_jax.train.flops import StepCost, step_cost
from xlstm_jax.train.interruption import Interrupted, peers_watched
from xlstm_jax.train.profiling import Profile, check_steps
from xlstm_jax.train.step import abstract_state, compiled_step, init_state
from xlstm_jax.train.workdir.checkpoint import Checkpoints
from xlstm_jax.train.workdir.folder import CODEC, CONFIG, check_workdir, locked
from xlstm_jax.train.workdir.lock import Lock, check_free
from xlstm_jax.train.workdir.metrics import MetricWriter, draw_losses
from xlstm_jax.train.workdir.progress import TrainProgress
from xlstm_jax.train.workdir.saved import initial_params

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
    # Reads the data: nothing is written before everything that can be wrong with it has shown.
    parts = build(values, workdir=workdir)
    check_steps(profile_steps, 0, parts.sections.train.steps)
    if parts.sections.train.init_from and not (workdir / CONFIG).exists():
        initial_params(parts)
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
                given = {"console": console, "interrupted": interrupted, "lock": lock, "cost": cost}
                with peers_watched(checkpoints):
                    state = Loop(parts, workdir, checkpoints, **given).run(state, iterator, first, profile)
            checkpoints.wait()
            if int(state.step) == options.steps:
                score_held_out(parts, state, checkpoints, workdir, console)
        if primary:
            draw_losses(workdir, task.unit)
        if int(state.step) == options.steps:
            show_example(parts, state, checkpoints, workdir, console)
            console.print(f"checkpoints, metrics.jsonl and loss.png are in {workdir}")
    return 130 if interrupted.signal == signal.SIGINT else 0


def _start(parts: Parts, checkpoints: Checkpoints, workdir: Path) -> tuple[Any, Any, int]:
    """The state and the data's iterator to begin with, and the number of steps already taken."""
    task, seed = parts.task, parts.sections.seed
    iterator = iter(task.train_batches(seed, rows=parts.placement.rows))
    latest = checkpoints.latest_step()
    if latest is None:
        state = init_state(parts)
        if parts.sections.train.init_from:
            state = state._replace(params=initial_params(parts))
        return state, iterator, 0
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


class Loop:
    """Steps, metrics, evaluations and checkpoints up to `train.steps` or an interruption."""

    def __init__(
        self,
        parts: Parts,
        workdir: Path,
        checkpoints: Checkpoints,
        *,
        console: Console,
        interrupted: Interrupted,
        lock: Lock,
        cost: StepCost,
    ):
        self.parts, self.workdir, self.checkpoints, self.lock = parts, workdir, checkpoints, lock
        self.console, self.interrupted, self.cost = console, interrupted, cost
        self._tokens = _tokens(parts.task.axes(parts.example), parts.example)
        self._fingerprint = parts.task.fingerprint()
        self._pending: collections.deque[tuple[int, dict[str, jax.Array]]] = collections.deque()
        self._in_a_row = 0  # steps skipped, up to the last one read

    def run(self, state: Any, iterator: Any, first: int, profile: Profile) -> Any:
        """Takes the steps after `first`; returns the state that it reaches."""
        parts, steps, interrupted = self.parts, self.parts.sections.train.steps, self.interrupted
        eval_every, step_fn = parts.sections.train.eval_every, compiled_step(parts)
        self._writer = MetricWriter(self.workdir, first, primary=jax.process_index() == 0)
        if not first:
            self._writer.write(0, {"model/parameters": parameter_count(state.params)})
        try:
            with profile, TrainProgress(self.console, first, steps, self._tokens) as self._progress:
                for step in range(first + 1, steps + 1):
                    self.lock.check()
                    batch = parts.placement.batch(next(iterator))
                    state, metrics = profile.run(step, step_fn, state, batch)
                    if jax.process_count() > 1:
                        metrics["stop"] = parts.placement.any(bool(interrupted))
                    self._pending.append((step, metrics))
                    self._read(LAG)
                    if step % eval_every == 0 or step == steps:
                        self._read(0)
                        paused = self._progress.pause()
                        self._save(step, state, iterator, self._evaluate(state.params, step))
                        self._progress.resume(paused)
                    elif interrupted.everywhere:
                        self._read(0)
                        self._save(step, state, iterator)
                    if interrupted.everywhere and step < steps:
                        self.checkpoints.wait()
                        self._progress.say(f"stopped by {interrupted.what}; saved step {step}; run again to resume")
                        break
        finally:
            self._writer.close()
        return state

    def _read(self, keep: int) -> None:
        """Reads and records the metrics of all but the last `keep` steps."""
        options, progress = self.parts.sections.train, self._progress
        while len(self._pending) > keep:
            step, metrics = self._pending.popleft()
            values = {name: float(value) for name, value in metrics.items()}
            self.interrupted.anywhere |= values.pop("stop", 0.0) > 0
            finite = math.isfinite(values["loss"]) and math.isfinite(values["grad_norm"])
            self._in_a_row = 0 if finite else self._in_a_row + 1
            if not finite:
                what = f"loss {values.pop('loss')} with gradient norm {values.pop('grad_norm')}"
                if self._in_a_row > options.max_skipped:
                    before = f", after {self._in_a_row - 1} more skipped in a row" if self._in_a_row > 1 else ""
                    raise self._diverged(what, f"{step}{before}")
                progress.say(f"step {step} skipped: {what} ({values['skipped']:.0f} skipped so far)")
            progress.update(step, values.get("loss", math.nan))
            if step % options.log_every == 0 or step in (1, options.steps):
                record = {f"train/{name}": value for name, value in values.items()}
                rate = progress.measure(step)
                speed = {"train/tokens_per_second": rate, **self.cost.metrics(rate / self._tokens)}
                self._writer.write(step, {**record, **speed})

    def _evaluate(self, params: Any, step: int) -> float:
        """Records the metrics of the task's splits, as SPLIT/NAME; returns the one that selects the best checkpoint."""
        results, carry, task = {}, self.parts.sections.evaluation.carry, self.parts.task
        for split in task.evaluated:
            result = evaluate(self.parts, params, split, carry=carry)
            if not math.isfinite(result["loss"]):  # no checkpoint of it would be of use
                raise self._diverged(f"{split} loss {result['loss']}", f"{step}")
            self._progress.say(f"step {step}  {task.describe(result, split, carry=carry)}")
            results |= {f"{split}/{name}": value for name, value in result.items()}
        self._writer.write(step, results)
        return results[f"{task.evaluated[0]}/{task.best[0]}"]

    def _save(self, step: int, state: Any, iterator: Any, metric: float | None = None) -> None:
        data = {"iterator": iterator.get_state(), "fingerprint": self._fingerprint}
        self.checkpoints.save(step, state, data, self.parts.task.codec.to_json(), metric)

    def _diverged(self, what: str, where: str) -> UsageError:
        self.checkpoints.wait()
        last = self.checkpoints.latest_step()
        good = (
            f"the last good checkpoint is step {last} in {self.workdir}"
            if last
            else "no checkpoint was saved before it"
        )
        return UsageError(
            f"{what} is not finite at step {where}; {good}; "
            "lower optimizer.learning_rate or raise optimizer.warmup_steps, and use another workdir"
        )


def _tokens(axes: Any, batch: Any) -> int:
    """Steps of all rows in a batch, padding included; rows, where its arrays have no axis of time."""
    leaves, form = jax.tree.flatten(batch)
    for leaf, names in zip(leaves, form.flatten_up_to(axes), strict=True):
        if names[:2] == ("batch", "time"):
            return leaf.shape[0] * leaf.shape[1]
    return leaves[0].shape[0]
