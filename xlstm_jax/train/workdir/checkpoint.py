"""Checkpoints of model, optimizer, step, data position and codec, written by orbax in the background."""

import logging
import math
from pathlib import Path
from typing import Any, NamedTuple

import jax
import orbax.checkpoint as ocp
from orbax.checkpoint import checkpoint_managers as policies

from xlstm_jax.console import say
from xlstm_jax.errors import PeerLost, UsageError
from xlstm_jax.train.workdir.damage import find_damage, set_aside_damaged, write_sums
from xlstm_jax.train.workdir.faults import STATE, Faults, Removed
from xlstm_jax.train.workdir.plain_path import PlainPath
from xlstm_jax.train.workdir.shapes import check_shapes

FOLDER = "checkpoints"
SPLIT = "validation"  # the split whose metric selects the best checkpoint
DATA, CODEC = "data", "codec"
EARLIER = "tokenizer"  # name of the codec before version 0.2


class Restored(NamedTuple):
    """What a checkpoint holds."""

    state: Any
    data: dict[str, Any]  # of the training data's iterator
    codec: dict[str, Any]


class Checkpoints:
    """The checkpoints of one workdir: the latest `keep`, and the best one by a validation metric.

    A context manager; its exit waits for the save in progress. Saves are atomic: a checkpoint gets its step's name only
    when it is complete, so a killed process cannot leave a partial checkpoint.

    When opened for writing, checks the checksums of all checkpoints and moves damaged ones to `checkpoints-damaged`, so
    that a run resumes from the latest undamaged one. When opened for reading, changes nothing; see `select`.
    """

    def __init__(
        self, workdir: Path, keep: int = 1, *, best: tuple[str, str] = ("loss", "lower"), read_only: bool = False
    ):
        # orbax logs every phase of every save and the traceback of every exception.
        logging.getLogger("absl").setLevel(logging.CRITICAL)
        self.folder = Path(workdir).absolute() / FOLDER
        self._saving: int | None = None
        self._metric_name, self._sign = f"{SPLIT}/{best[0]}", -1 if best[1] == "higher" else 1
        if not read_only:
            set_aside_damaged(self.folder)
        self._plain = PlainPath(self.folder.parent)
        self.faults = Faults(self.folder, self._plain, read_only=read_only)
        keep_best = policies.BestN(get_metric_fn=self._cost, reverse=True, n=1, keep_checkpoints_without_metrics=False)
        options = ocp.CheckpointManagerOptions(
            # With best_fn, orbax writes the metrics, which the policy needs after a restart.
            best_fn=self._cost,
            best_mode="min",
            preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(keep), keep_best]),
            create=not read_only,
            read_only=read_only,
            cleanup_tmp_directories=not read_only,
            async_options=None if read_only else ocp.AsyncOptions(post_finalization_callback=self._write_sums),
        )
        try:
            if not read_only:
                self.folder.mkdir(parents=True, exist_ok=True)  # a link to a missing folder cannot be followed
            self._manager = ocp.CheckpointManager(self._plain.path / FOLDER, options=options)
        except (OSError, ValueError) as error:  # no write permission, or a damaged metrics file
            self._plain.remove()
            if read_only and self.faults.in_training():
                raise Removed(f"{self.folder} was changed by a training run while it was read; run again") from error
            raise UsageError(
                f"{self.folder} cannot be opened ({self.faults.why(error)}); delete the checkpoint whose "
                "metrics/metrics is damaged, or use another workdir"
            ) from error

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None and issubclass(kind, PeerLost):
            return  # closing would wait for the lost process
        try:
            self._manager.close()
        except Exception as error:
            if kind is None:  # report the exception that ends the run, not one that follows from it
                raise self.faults.unsaved(self._saving, error) from error
        finally:
            self._plain.remove()

    @property
    def steps(self) -> list[int]:
        return sorted(self._manager.all_steps())

    def latest_step(self) -> int | None:
        return self._manager.latest_step()

    def best_step(self) -> int | None:
        """The step with the best validation metric, or the latest step if none was evaluated."""
        best = self._manager.best_step()
        return best if best is not None else self.latest_step()

    def select(self, which: str) -> int:
        """Returns the step for "best", "latest" or a number. If "best" or "latest" is damaged, returns the next one.

        Raises:
            Removed: a training run removed it in the meantime.
            UsageError: there is no such checkpoint, the numbered one is damaged, or all are damaged.
        """
        if not self.steps:
            raise UsageError(f"{self.folder.parent} has no checkpoint; train there first")
        if which == "latest":
            order = self.steps[::-1]
        elif which == "best":
            by_metric = sorted(self.steps, key=lambda step: (self._cost(self._manager.metrics(step)), -step))
            order = [self.best_step(), *by_metric]
        elif which in map(str, self.steps):
            order = [int(which)]
        else:
            steps = ", ".join(str(step) for step in self.steps)
            raise UsageError(f"checkpoint {which!r} does not exist; choose best, latest, or one of {steps}")
        damage = {}
        for step in dict.fromkeys(order):
            damage[step] = find_damage(self.folder / str(step))
            self.faults.check_there(step, damage[step])
            if damage[step] is None:
                for other in list(damage)[:-1]:
                    say(f"checkpoint {self.folder / str(other)} is damaged ({damage[other]}); using step {step}")
                return step
        first = order[0]
        others = [str(step) for step in self.steps if step not in damage]
        rest = f"choose best, latest, or one of {', '.join(others)}" if others else "no other checkpoint is left"
        raise UsageError(f"checkpoint {self.folder / str(first)} is damaged ({damage[first]}); {rest}")

    def save(self, step: int, state: Any, data: dict, codec: dict, metric: float | None = None) -> None:
        """Starts saving `state` as step `step`. Returns once its values are copied; the write continues in background.

        `metric` selects the best checkpoint; None if the step was not evaluated.

        Raises:
            UsageError: this save or the previous one failed, for example on a full disk.
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
        except Exception as error:  # orbax, tensorstore and the system raise different classes
            raise self.faults.unsaved(self._saving, error) from error

    def wait(self) -> None:
        """Waits until the save in progress is on disk.

        Raises:
            UsageError: it failed, for example on a full disk.
        """
        try:
            self._manager.wait_until_finished()
        except Exception as error:
            raise self.faults.unsaved(self._saving, error) from error

    def restore(self, step: int, like: Any) -> Restored:
        """Restores the checkpoint of `step` with the shapes and dtypes of `like` (arrays or `jax.ShapeDtypeStruct`s).

        Raises:
            UsageError: a file is missing or damaged, or the shapes do not fit.
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
        except Exception as error:  # orbax, tensorstore and json raise different classes
            raise self.faults.damaged(step, self.steps, error) from error
        return Restored(restored[STATE], restored[DATA], restored[codec])

    def restore_params(self, step: int, like: Any) -> Any:
        """Restores only the parameters, with the shapes of `like`."""
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
            raise self.faults.damaged(step, self.steps, error) from error
        return restored["params"]

    def codec(self, step: int) -> dict[str, Any]:
        """The codec of `step` as JSON data."""
        item = self._codec_item(step)
        try:
            restored = self._manager.restore(step, args=ocp.args.Composite(**{item: ocp.args.JsonRestore()}))
        except Exception as error:
            raise self.faults.damaged(step, self.steps, error) from error
        return restored[item]

    def _codec_item(self, step: int) -> str:
        return EARLIER if (self.folder / str(step) / EARLIER).exists() else CODEC

    def _cost(self, metrics: dict[str, float] | None) -> float:
        """The value that is smallest for the best checkpoint."""
        return self._sign * (metrics or {}).get(self._metric_name, self._sign * math.inf)

    def _write_sums(self) -> None:
        """orbax calls this in the background after writing all files of a save, before renaming it to its step."""
        if jax.process_index() == 0:
            (temporary,) = self.folder.glob(f"{self._saving}.orbax-checkpoint-tmp*")
            write_sums(temporary)

    def _check_shapes(self, step: int, like: Any) -> None:
        """Compares with the shapes on disk first, because orbax's own message is hundreds of lines long."""
        try:
            with ocp.PyTreeCheckpointer() as checkpointer:
                found = checkpointer.metadata(self._plain.path / FOLDER / str(step) / STATE).item_metadata.tree
        except Exception as error:
            raise self.faults.damaged(step, self.steps, error) from error
        check_shapes(found, like, f"checkpoint {step} in {self.folder}")
