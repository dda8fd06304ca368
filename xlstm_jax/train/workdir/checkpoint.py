"""Checkpoints: model, optimizer, step, data position and codec together, by orbax; written in the background."""

import logging
import math
import os
import time
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from xlstm_jax.console import say
from xlstm_jax.errors import PeerLost, UsageError, one_line, out_of_memory
from xlstm_jax.files import FULL
from xlstm_jax.train.workdir.damage import find_damage, set_aside_damaged, steps_in, write_sums
from xlstm_jax.train.workdir.lock import RUN_LOCK, read_lock
from xlstm_jax.train.workdir.plain_path import PlainPath

FOLDER = "checkpoints"
SPLIT = "validation"  # whose metric picks the best checkpoint
STATE, DATA, CODEC = "state", "data", "codec"
EARLIER = "tokenizer"  # what the codec was called before version 0.2
MERGED = "manifest.ocdbt"  # beside the arrays of all processes
REMOVAL_SECONDS = 2.0  # for which a checkpoint that is damaged may be one that is just being removed


class Removed(UsageError):
    """The training that goes on in the workdir has removed a checkpoint while it was read."""


class Restored(NamedTuple):
    state: Any
    data: dict[str, Any]  # of the training data's iterator
    codec: dict[str, Any]


class Checkpoints:
    """The checkpoints of one workdir: the latest `keep`, and the best one by a validation metric.

    A context manager: leaving it waits for the save in flight. A save becomes visible under its step's name only when
    it is whole, so that a killed process leaves nothing half-written that could be taken for a checkpoint.

    Opened for writing, it checks the sums of all checkpoints and moves what is damaged to `checkpoints-damaged`, so
    that a run goes on from the latest whole one. Opened for reading, it leaves all as it is: see `select`.
    """

    def __init__(
        self, workdir: Path, keep: int = 1, *, best: tuple[str, str] = ("loss", "lower"), read_only: bool = False
    ):
        # orbax reports every phase of every save, and prints the traceback of whatever it raises.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self.folder = Path(workdir).absolute() / FOLDER
        self._saving: int | None = None
        self._metric_name, self._sign = f"{SPLIT}/{best[0]}", -1 if best[1] == "higher" else 1
        self._read_only = read_only
        if not read_only:
            set_aside_damaged(self.folder)
        self._plain = PlainPath(self.folder.parent)
        best = policies.BestN(get_metric_fn=self._cost, reverse=True, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            # best_fn is what makes orbax write the metrics that the policy reads after a restart.
            best_fn=self._cost,
            best_mode="min",
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep), best]),
            create=not read_only,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
            async_options=None if read_only else ocp.AsyncOptions(post_finalization_callback=self._write_sums),
        )
        try:
            if not read_only:
                self.folder.mkdir(parents=True, exist_ok=True)  # a link to what is not there yet cannot be followed
            self._manager = ocp.CheckpointManager(self._plain.path / FOLDER, options=options)
        except (OSError, ValueError) as error:  # no right to write there, or a damaged file of metrics
            self._plain.remove()
            if read_only and self._in_training():
                raise Removed(f"{self.folder} was changed by a training while it was read; run again") from error
            raise UsageError(
                f"{self.folder} cannot be opened ({self._why(error)}); delete the checkpoint in it whose "
                "metrics/metrics is damaged, or use another workdir"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, PeerLost):
            return  # closing would wait for the one that is lost
        try:
            self._manager.close()
        except Exception as error:
            if kind is None:  # what ends the run already is to be told, and not what came of it
                raise self._unsaved(error) from error
        finally:
            self._plain.remove()

    @property
    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step with the best validation metric; the latest if none was evaluated."""
        best = self._manager.best_step()
        return best if best is not None else self.latest_step()

    def select(self, which: str) -> int:
        """The step that "best", "latest" or a number names; in place of a damaged best or latest the next one.

        Raises:
            Removed: a training has removed it in the meantime.
            UsageError: there is no such checkpoint, or it is damaged, as are all others.
        """
        if not self.steps:
            raise UsageError(f"{self.folder.parent} holds no checkpoint; train there first")
        if which == "latest":
            order = self.steps[::-1]
        elif which == "best":
            by_loss = sorted(self.steps, key=lambda step: (self._cost(self._manager.metrics(step)), -step))
            order = [self.best_step(), *by_loss]
        elif which in map(str, self.steps):
            order = [int(which)]
        else:
            steps = ", ".join(str(step) for step in self.steps)
            raise UsageError(f"checkpoint {which!r} is not there; allowed: best, latest, or one of {steps}")
        damage = {}
        for step in dict.fromkeys(order):
            damage[step] = find_damage(self.folder / str(step))
            self._check_there(step, damage[step])
            if damage[step] is None:
                for other in list(damage)[:-1]:
                    say(f"checkpoint {self.folder / str(other)} is damaged ({damage[other]}); step {step} is taken")
                return step
        first = order[0]
        others = [str(step) for step in self.steps if step not in damage]
        rest = f"allowed: best, latest, or one of {', '.join(others)}" if others else "no other checkpoint is left"
        raise UsageError(f"checkpoint {self.folder / str(first)} is damaged ({damage[first]}); {rest}")

    def save(self, step: int, state: Any, data: dict, codec: dict, metric: float | None = None) -> None:
        """Start saving `state` as step `step`; returns when its values are copied, not when they are on disk.

        `metric` is the one that picks the best checkpoint; None if the step was not evaluated.

        Raises:
            UsageError: this save or the one before failed, as on a full disk.
        """
        self.wait()
        self._saving = step
        items = {
            STATE: ocp.args.StandardSave(state),
            DATA: ocp.args.JsonSave(data),
            CODEC: ocp.args.JsonSave(codec),
        }
        metrics = None if metric is None else {self._metric_name: metric}
        try:
            self._manager.save(step, args=ocp.args.Composite(**items), metrics=metrics, force=True)
        except Exception as error:  # orbax, tensorstore and the system each have their own kinds
            raise self._unsaved(error) from error

    def wait(self) -> None:
        """Until the save in flight is on disk.

        Raises:
            UsageError: it failed, as on a full disk.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self._unsaved(error) from error

    def restore(self, step: int, like: Any) -> Restored:
        """The checkpoint of `step`, its arrays shaped and typed as `like` (arrays or `jax.ShapeDtypeStruct`s).

        Raises:
            UsageError: a file is missing or damaged, or the shapes are those of another model.
        """
        self._check_shapes(step, like)
        abstract, codec = jax.tree.map(ocp.utils.to_shape_dtype_struct, like), self._codec_item(step)
        try:
            restored = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    **{
                        STATE: ocp.args.StandardRestore(abstract),
                        DATA: ocp.args.JsonRestore(),
                        codec: ocp.args.JsonRestore(),
                    }
                ),
            )
        except Exception as error:  # orbax, tensorstore and json each have their own kinds
            raise self._damaged(step, error) from error
        return Restored(restored[STATE], restored[DATA], restored[codec])

    def restore_params(self, step: int, like: Any) -> Any:
        """The parameters alone, shaped as `like`."""
        self._check_shapes(step, {"params": like})
        abstract = {"params": jax.tree.map(ocp.utils.to_shape_dtype_struct, like)}
        arguments = ocp.checkpoint_utils.construct_restore_args(abstract)
        try:
            with ocp.PyTreeCheckpointer() as checkpointer:
                restored = checkpointer.restore(
                    self._plain.path / FOLDER / str(step) / STATE,
                    args=ocp.args.PyTreeRestore(item=abstract, restore_args=arguments, partial_restore=True),
                )
        except Exception as error:
            raise self._damaged(step, error) from error
        return restored["params"]

    def codec(self, step: int) -> dict[str, Any]:
        """The codec of `step` in its JSON form."""
        item = self._codec_item(step)
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(**{item: ocp.args.JsonRestore()}))
        except Exception as error:
            raise self._damaged(step, error) from error
        return restored[item]

    def _codec_item(self, step: int) -> str:
        return EARLIER if (self.folder / str(step) / EARLIER).exists() else CODEC

    def _cost(self, metrics: dict[str, float] | None) -> float:
        """What the best checkpoint has least of."""
        return self._sign * (metrics or {}).get(self._metric_name, self._sign * math.inf)

    def _write_sums(self) -> None:
        """Called by orbax, in the background, when all files of a save are written and before it gets its name."""
        if jax.process_index() == 0:
            (temporary,) = self.folder.glob(f"{self._saving}.orbax-checkpoint-tmp*")
            write_sums(temporary)

    def _check_shapes(self, step: int, like: Any) -> None:
        """Compare with the shapes on disk first: orbax's own message for a misfit is hundreds of lines long."""
        try:
            with ocp.PyTreeCheckpointer() as checkpointer:
                found = _shapes(checkpointer.metadata(self._plain.path / FOLDER / str(step) / STATE).item_metadata.tree)
        except Exception as error:
            raise self._damaged(step, error) from error
        for name, shape in _shapes(like).items():
            if found.get(name) != shape:
                raise UsageError(
                    f"checkpoint {step} in {self.folder} holds {name} as {found.get(name, 'nothing')}, and the config "
                    f"wants {shape}; use the config it was trained with, or another workdir"
                )

    def _unsaved(self, error: Exception) -> UsageError:
        # What is there, and not what the manager knows: it drops what a save replaces before that save is whole.
        whole = steps_in(self.folder)
        last = f"the last whole one is step {max(whole)}" if whole else "there is none before it"
        reason = next((text for text in map(os.strerror, FULL) if text in str(error)), self._why(error))
        return UsageError(
            f"checkpoint {self._saving} cannot be saved in {self.folder} ({reason}); {last}; make room there, and run "
            "again to go on"
        )

    def _check_there(self, step: int, damage: object) -> None:
        """Raise `Removed` where that is why a checkpoint looks damaged: its files go one after the other."""
        begun = time.monotonic()
        while damage and self._read_only and (self.folder / str(step)).exists():
            if not self._in_training() or time.monotonic() - begun > REMOVAL_SECONDS:
                return
            time.sleep(0.05)
        if damage and self._read_only:
            raise Removed(
                f"checkpoint {self.folder / str(step)} was removed while it was read, as later ones took its place; "
                "run again"
            )

    def _in_training(self) -> bool:
        holder = read_lock(self.folder.parent / RUN_LOCK)
        return holder is not None and not holder.gone

    def _damaged(self, step: int, error: Exception) -> UsageError:
        self._check_there(step, error)
        arrays = self.folder / str(step) / STATE
        if not (arrays / MERGED).exists() and (parts := sorted(path.name for path in arrays.glob("ocdbt.process_*"))):
            # orbax takes brackets in a path for a pattern, finds nothing there to merge, and says nothing of it.
            todo = f"copy what is in {arrays / parts[0]} to {arrays}" if len(parts) == 1 else "merge these"
            return UsageError(
                f"checkpoint {step} in {self.folder} has its arrays in {', '.join(parts)} alone, as an earlier version "
                f"left them in a path with characters such as [ and ]; {todo}, and run again"
            )
        others = [str(other) for other in self.steps if other != step]
        rest = f"then step {others[-1]} is taken" if others else "no other checkpoint is left"
        return UsageError(
            f"checkpoint {self.folder / str(step)} is damaged ({self._why(error)}); delete that folder: {rest}"
        )

    def _why(self, error: Exception) -> str:
        """Its first line. Memory that does not suffice is no fault of the files: that error goes on as it is."""
        if out_of_memory(error):
            raise error
        return self._plain.named(one_line(error))


def _shapes(tree: Any) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {"/".join(_key(entry) for entry in path): tuple(leaf.shape) for path, leaf in leaves}


def _key(entry: Any) -> str:
    for attribute in ("key", "name", "idx"):
        if hasattr(entry, attribute):
            return str(getattr(entry, attribute))
    return str(entry)
