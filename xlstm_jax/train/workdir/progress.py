"""Progress display of training: a live bar on a terminal, else a line every few seconds."""

import time
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

QUIET_SECONDS = 10.0  # between lines if the output is not a terminal


class TrainProgress:
    """Context manager that shows step, loss, tokens per second and time left."""

    def __init__(self, console: Console, first_step: int, steps: int, tokens_per_step: int):
        self._console = console
        self._steps, self._tokens = steps, tokens_per_step
        self._counted: int | None = None
        self._start = self._window_start = self._last_line = time.monotonic()
        self._window_step, self._rate = first_step, 0.0
        self._bar = Progress(
            TextColumn("step"),
            MofNCompleteColumn(),
            BarColumn(bar_width=None),
            TextColumn("loss {task.fields[loss]}"),
            TextColumn("{task.fields[rate]} tokens/s"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("train", total=steps, completed=first_step, loss="-", rate="-")

    def __enter__(self) -> "TrainProgress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def pause(self) -> float:
        """Call before work other than training steps; pass the result to `resume`."""
        return time.monotonic()

    def resume(self, paused_at: float) -> None:
        """Excludes the time since `pause` from the rates."""
        away = time.monotonic() - paused_at
        self._window_start += away
        self._start += away

    def update(self, step: int, loss: float) -> None:
        """Shows that `step` is done."""
        now = time.monotonic()
        if self._counted is None:  # the first step includes compilation, so leave it out
            self._start, self._counted = now, step
        rate = f"{self._rate:,.0f}" if self._rate else "-"
        self._bar.update(self._task, completed=step, loss=f"{loss:.4f}", rate=rate)
        if not self._console.is_terminal and now - self._last_line > QUIET_SECONDS and step < self._steps:
            self._last_line = now
            done = step - self._counted
            left = f"{(now - self._start) / done * (self._steps - step):.0f}" if done else "-"
            self.say(f"step {step}/{self._steps}  loss {loss:.4f}  {rate} tokens/s  {left} s left")

    def measure(self, step: int) -> float:
        """Tokens per second since the last call."""
        now = time.monotonic()
        self._rate = (step - self._window_step) * self._tokens / max(now - self._window_start, 1e-9)
        self._window_start, self._window_step = now, step
        return self._rate

    def say(self, text: Any) -> None:
        """Prints a line above the bar."""
        self._console.print(text)
