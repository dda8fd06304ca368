"""Runs a sweep as processes, several at a time, and records how each ended."""

import concurrent.futures
import contextlib
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.programs.cli import ROOT, located, module_at
from experiments.sweeping.base import Sweep, SweepRun
from experiments.sweeping.results import LOG, RUNS, SWEEP, read_name, read_result, write_result
from xlstm_jax.console import plain_console, say
from xlstm_jax.errors import UsageError
from xlstm_jax.files import write_json
from xlstm_jax.train.workdir.lock import Held, Lock, check_free

SWEEP_LOCK = "sweep.lock"  # in a run's folder; held by the sweep that trains and measures it
LOOK_SECONDS = 1.0  # between two checks of a run that another process is working on
ELSEWHERE = object()  # instead of a result: another process is working on the run


def load(name: str) -> Sweep:
    """Returns the sweep for FILE or FILE:VARIANT.

    Raises:
        UsageError: the file or variant does not exist.
    """
    path, _, variant = name.partition(":")
    if not Path(located(path)).is_file():
        raise UsageError(
            f"sweep file {path!r} does not exist; give a file, such as one of experiments/sweeps/, or a module"
        )
    module = module_at(path)
    if not hasattr(module, "get_sweep"):
        raise UsageError(f"{path} is not a sweep: it has no get_sweep(variant); see experiments/sweeps/families.py")
    known = getattr(module, "VARIANTS", ("",))
    if variant not in known:
        raise UsageError(
            f"variant {variant!r} of {path} is unknown; allowed: {', '.join(filter(None, known)) or 'none'}"
        )
    return module.get_sweep(variant)


def run_all(
    sweep: Sweep, name: str, workdir: str | Path, *, runs: Sequence[SweepRun], workers: int, retry: bool
) -> int:
    """Runs those of `runs` that are left. Returns 0, 1 if a run failed, 130 after Ctrl-C, or 143 after SIGTERM.

    Several processes can work in one workdir, each on different runs; at the end they wait for each other's runs.

    Raises:
        UsageError: the workdir holds another sweep, or cannot be written to.
    """
    workdir, console = Path(workdir), plain_console()
    _claim(workdir, name)
    results = {run.name: read_result(workdir, run) for run in runs}
    left = [run for run in runs if results[run.name] is None or (retry and results[run.name]["status"] == "failed")]
    pool = _Pool(workers)
    with _progress(console) as progress, pool.stopped_by_signals():
        bar = progress.add_task("sweep", total=len(runs), completed=len(runs) - len(left), now="")
        done = 0
        before = [(run, results[run.name]) for run in left]
        for run, result in pool.results(workdir, before, lambda now: progress.update(bar, now=now)):
            results[run.name], done = result, done + 1
            said = f": {result['message']}" if result["message"] else ""
            console.print(
                f"{len(runs) - len(left) + done}/{len(runs)}  {run.name}  {result['status']} after "
                f"{result['seconds']:.0f} s{said}"
            )
            progress.advance(bar)
    if pool.signal:
        console.print(f"stopped by signal {pool.signal}; run the same command to resume")
        return 128 + pool.signal
    failed = sum(result["status"] == "failed" for result in results.values())
    console.print(f"{len(runs) - failed} finished, {failed} failed, in {workdir}")
    return 1 if failed else 0


def _progress(console):
    """A bar that counts runs and names the one started last; only shown on a terminal."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    now = TextColumn("{task.fields[now]}", markup=False)
    columns = (TextColumn("runs"), MofNCompleteColumn(), BarColumn(bar_width=None), now, TimeElapsedColumn())
    columns += (TextColumn("left"), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _claim(workdir: Path, name: str) -> None:
    """Records the name of the sweep in its folder; refuses a folder with another sweep."""
    there = read_name(workdir)
    if there is None:
        try:
            workdir.mkdir(parents=True, exist_ok=True)
            write_json(workdir / SWEEP, {"sweep": name})
        except OSError as error:
            raise UsageError(f"workdir {workdir} cannot be used ({error.strerror}); give another folder") from error
        there = read_name(workdir)
    if there != name:
        raise UsageError(f"workdir {workdir} holds the sweep {there}, not {name}; use another workdir")


class _Pool:
    """Processes of `experiments.train` and `experiments.measure`, each pinned to its share of the cores.

    SIGTERM and Ctrl-C are passed on to all of them.
    """

    def __init__(self, workers: int):
        self.signal: int | None = None
        self._elsewhere = ""  # which other process is working on a run
        self._workers = workers
        self._running: set[subprocess.Popen] = set()
        self._cores: queue.SimpleQueue = queue.SimpleQueue()
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        for number in range(workers):
            # If there are more workers than cores, some workers share a core.
            self._cores.put(cores[number::workers] or cores[number % len(cores) :][:1] if cores else [])

    @contextlib.contextmanager
    def stopped_by_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._stop) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: Any) -> None:
        self.signal = number
        for process in tuple(self._running):
            process.terminate()  # a training run then saves a checkpoint

    def results(
        self, workdir: Path, runs: Sequence[tuple[SweepRun, dict[str, Any] | None]], show: Callable[[str], None]
    ) -> Iterator[tuple[SweepRun, dict[str, Any]]]:
        """Yields (run, result) as runs end; stops after a signal. `runs` are pairs of a run and its earlier record."""
        said = False
        with concurrent.futures.ThreadPoolExecutor(self._workers) as threads:
            while runs:
                waiting = {threads.submit(self._one, workdir, *run, show): run for run in runs}
                runs = []
                for future in concurrent.futures.as_completed(waiting):
                    if (result := future.result()) is ELSEWHERE:
                        runs.append(waiting[future])
                    elif result is not None:
                        yield waiting[future][0], result
                if runs and not said:
                    said = True
                    say(f"{len(runs)} of the runs are in use by other processes ({self._elsewhere}); waiting for them")
                if runs:
                    time.sleep(LOOK_SECONDS)

    def _one(
        self, workdir: Path, run: SweepRun, before: dict[str, Any] | None, show: Callable[[str], None]
    ) -> dict[str, Any] | object | None:
        """Returns the result of a run; `ELSEWHERE` if another process is working on it, None after a signal."""
        if self.signal:
            return None
        folder = workdir / RUNS / run.name
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with Lock(folder / SWEEP_LOCK):
                found = read_result(workdir, run)
                if found is not None and found != before:
                    return found  # another sweep finished it first
                check_free(folder)  # a training process can outlive its sweep
                show(run.name)
                return self._train_and_measure(folder, run)
        except Held as error:
            self._elsewhere = error.who
            return ELSEWHERE

    def _train_and_measure(self, folder: Path, run: SweepRun) -> dict[str, Any] | None:
        cores, start = self._cores.get(), time.monotonic()
        place = f"--workdir={folder.resolve()}"
        programs = [["experiments.train", *run.arguments, place]]
        programs += [["experiments.measure", f"--measure={run.measure}", place]] if run.measure else []
        try:
            for program in programs:
                if (status := self._program(program, folder, cores)) or self.signal:
                    break
        finally:
            self._cores.put(cores)
        if self.signal:
            return None
        share = {"cores": len(cores) or os.cpu_count(), "workers": self._workers}
        return write_result(folder, run, status, time.monotonic() - start, share)

    def _program(self, program: Sequence[str], folder: Path, cores: Sequence[int]) -> int:
        """Runs a program and returns its exit status."""
        with (folder / LOG).open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", *program],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            if cores:
                os.sched_setaffinity(process.pid, cores)  # before it starts any threads
            self._running.add(process)
            if self.signal:  # the signal came between the check above and the start
                process.terminate()
            status = process.wait()
            self._running.discard(process)
        return status
