"""Profiler traces of training steps, for TensorBoard's profiler, Perfetto or XProf."""

import re
from pathlib import Path
from typing import Any

import jax

from xlstm_jax.errors import UsageError

FOLDER = "profile"  # in the workdir


def parse_steps(text: str) -> tuple[int, int] | None:
    """Parses "10:15" to (first, last), both inclusive, and "" to None.

    Raises:
        UsageError: the text is anything else.
    """
    if not text:
        return None
    match = re.fullmatch(r"(\d+):(\d+)", text)
    steps = tuple(map(int, match.groups())) if match else (0, 0)
    if not 1 <= steps[0] <= steps[1]:
        raise UsageError(f"--profile_steps={text} is not allowed; write FIRST:LAST, FIRST at least 1, such as 10:15")
    return steps


def check_steps(steps: tuple[int, int] | None, done: int, total: int) -> None:
    """Raises `UsageError` unless all of `steps` are still to come in a run that has done `done` of `total` steps."""
    if steps and not done < steps[0] <= steps[1] <= total:
        raise UsageError(
            f"--profile_steps={steps[0]}:{steps[1]} is not allowed; must be within steps {done + 1} to {total}"
        )


class Profile:
    """Context manager that traces steps `first` to `last` under WORKDIR/profile; its exit ends an unfinished trace.

    Raises:
        UsageError: this run does not have these steps.
    """

    def __init__(self, workdir: Path, steps: tuple[int, int] | None, done: int, total: int):
        check_steps(steps, done, total)
        self._folder, self._steps, self._running = Path(workdir) / FOLDER, steps or (0, 0), False

    def __enter__(self) -> "Profile":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def run(self, step: int, train_step, *args: Any) -> Any:
        """Returns `train_step(*args)` for step number `step`. Stops the trace once the device has finished `last`."""
        first, last = self._steps
        if not first <= step <= last:
            return train_step(*args)
        if step == first:
            jax.profiler.start_trace(self._folder)
            self._running = True
        with jax.profiler.StepTraceAnnotation("train", step_num=step):
            result = train_step(*args)
        if step == last:
            jax.block_until_ready(result)
            self._stop()
        return result

    def _stop(self) -> None:
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
