"""Ends a run before its last step: after a signal, or after the loss of another process."""

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

import jax

from xlstm_jax.errors import out_of_memory
from xlstm_jax.train.workdir.checkpoint import Checkpoints


class Interrupted:
    """Context manager that turns SIGTERM and Ctrl-C into a flag, so that the loop ends between two steps."""

    def __init__(self) -> None:
        self.signal: int | None = None
        self.anywhere = False  # whether any of several processes has a signal; all processes agree on it

    @property
    def everywhere(self) -> bool:
        """Whether to stop now; the same in all processes at the same step."""
        return self.anywhere if jax.process_count() > 1 else bool(self)

    @property
    def what(self) -> str:
        return f"signal {self.signal}" if self else "a signal to another process"

    def __bool__(self) -> bool:
        return self.signal is not None

    def __enter__(self) -> "Interrupted":
        self._before = {number: signal.signal(number, self._note) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: Any) -> None:
        if self.signal is not None and number == signal.SIGINT:
            raise KeyboardInterrupt  # a second Ctrl-C stops at once
        self.signal = number


@contextlib.contextmanager
def peers_watched(checkpoints: Checkpoints) -> Iterator[None]:
    """With several processes, converts the runtime's error about a lost process to `PeerLost`."""
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1 or out_of_memory(error):
            raise
        raise checkpoints.faults.lost(error) from error
