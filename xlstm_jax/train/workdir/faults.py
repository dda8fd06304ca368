"""One-line errors about checkpoints, from those of orbax, tensorstore and the system."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import jax

from xlstm_jax.errors import PeerLost, UsageError, one_line, out_of_memory
from xlstm_jax.files import FULL
from xlstm_jax.train.workdir.damage import steps_in
from xlstm_jax.train.workdir.lock import RUN_LOCK, read_lock
from xlstm_jax.train.workdir.plain_path import PlainPath

STATE = "state"  # a checkpoint's folder of arrays
MERGED = "manifest.ocdbt"  # exists once the arrays of all processes are merged
REMOVAL_SECONDS = 2.0  # for this long, a checkpoint that looks damaged may be in the middle of its removal


class Removed(UsageError):
    """A checkpoint was removed, by a training running in the workdir, while it was read."""


class Faults:
    """Explains what went wrong with the checkpoints of a folder, and what to do."""

    def __init__(self, folder: Path, plain: PlainPath, *, read_only: bool):
        self.folder, self._plain, self._read_only = folder, plain, read_only

    def unsaved(self, step: int | None, error: Exception) -> UsageError:
        """The error to raise if a save failed; `PeerLost` if that was because another process has ended."""
        # Look at the disk: the manager forgets the checkpoints that a save replaces before that save is complete.
        whole = steps_in(self.folder)
        last = f"the last complete one is step {max(whole)}" if whole else "there is no earlier one"
        if jax.process_count() > 1 and isinstance(error, jax.errors.JaxRuntimeError) and not out_of_memory(error):
            return self.lost(error)
        reason = next((text for text in map(os.strerror, FULL) if text in str(error)), self.why(error))
        return UsageError(
            f"checkpoint {step} cannot be saved in {self.folder} ({reason}); {last}; free space there and run "
            "again to resume"
        )

    def lost(self, error: Exception) -> PeerLost:
        """The error to raise if the runtime reports that another process has ended."""
        whole = steps_in(self.folder)
        saved = f"step {max(whole)} is saved" if whole else "nothing was saved yet"
        return PeerLost(
            f"another process of this run was lost ({one_line(error)}); {saved}; restart all processes to resume"
        )

    def check_there(self, step: int, damage: object) -> None:
        """Raises `Removed` if a checkpoint looks damaged because its files are being removed one by one."""
        begun = time.monotonic()
        while damage and self._read_only and (self.folder / str(step)).exists():
            if not self.in_training() or time.monotonic() - begun > REMOVAL_SECONDS:
                return
            time.sleep(0.05)
        if damage and self._read_only:
            raise Removed(
                f"checkpoint {self.folder / str(step)} was removed while it was read, because a later one replaced it; "
                "run again"
            )

    def in_training(self) -> bool:
        """Whether a training runs in the workdir."""
        holder = read_lock(self.folder.parent / RUN_LOCK)
        return holder is not None and not holder.gone

    def damaged(self, step: int, steps: Sequence[int], error: Exception) -> UsageError:
        """The error to raise if the checkpoint of `step`, one of `steps`, cannot be read."""
        self.check_there(step, error)
        arrays = self.folder / str(step) / STATE
        if not (arrays / MERGED).exists() and (parts := sorted(path.name for path in arrays.glob("ocdbt.process_*"))):
            # orbax treats brackets in a path as a pattern, finds nothing to merge, and does not report it.
            todo = f"copy the files in {arrays / parts[0]} to {arrays}" if len(parts) == 1 else "merge these"
            return UsageError(
                f"checkpoint {step} in {self.folder} has its arrays only in {', '.join(parts)}, because an earlier "
                f"version did not merge them in a path with characters such as [ and ]; {todo}, and run again"
            )
        others = [str(other) for other in steps if other != step]
        rest = f"step {others[-1]} will be used" if others else "no other checkpoint is left"
        return UsageError(
            f"checkpoint {self.folder / str(step)} is damaged ({self.why(error)}); delete that folder; {rest}"
        )

    def why(self, error: Exception) -> str:
        """The error's first line. Raises an out-of-memory error again, because the files are not at fault."""
        if out_of_memory(error):
            raise error
        return self._plain.named(one_line(error))
