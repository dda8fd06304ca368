"""The runs of a sweep as processes, several at a time, and what is kept of each."""

import concurrent.futures
import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from experiments.cli import ROOT, located, module_at
from experiments.measures.base import read_measured
from experiments.sweeps.base import Sweep, SweepRun
from xlstm_jax.errors import UsageError
from xlstm_jax.files import write_json

SWEEP, RUNS, RESULT, LOG = "sweep.json", "runs", "result.json", "log.txt"


def load(name: str) -> Sweep:
    """The sweep that FILE or FILE:VARIANT names.

    Raises:
        UsageError: no such file or variant.
    """
    path, _, variant = name.partition(":")
    if not Path(located(path)).is_file():
        raise UsageError(f"sweep file {path!r} does not exist; those of the project are in experiments/sweeps/")
    module = module_at(path)
    if not hasattr(module, "get_sweep"):
        raise UsageError(f"{path} is no sweep: it has no get_sweep(variant); see experiments/sweeps/families.py")
    known = getattr(module, "VARIANTS", ("",))
    if variant not in known:
        raise UsageError(
            f"variant {variant!r} of {path} is unknown; allowed: {', '.join(filter(None, known)) or 'none'}"
        )
    return module.get_sweep(variant)


def run_all(
    sweep: Sweep, name: str, workdir: str | Path, *, runs: Sequence[SweepRun], workers: int, retry: bool
) -> int:
    """Do what is left of `runs`; the exit status: 0, 1 where a run failed, 130 after Ctrl-C, 143 after SIGTERM.

    Raises:
        UsageError: the workdir holds another sweep, or cannot be written.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    workdir, console = Path(workdir), Console()
    _claim(workdir, name)
    results = {run.name: read_result(workdir, run) for run in runs}
    left = [run for run in runs if results[run.name] is None or (retry and results[run.name]["status"] == "failed")]
    columns = (TextColumn("runs"), MofNCompleteColumn(), BarColumn(bar_width=None))
    columns += (TextColumn("{task.fields[now]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    pool = _Pool(workers)
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress, pool.stopped_by_signals():
        bar = progress.add_task("sweep", total=len(runs), completed=len(runs) - len(left), now="")
        done = 0
        for run, result in pool.results(workdir, left, lambda now: progress.update(bar, now=now)):
            results[run.name], done = result, done + 1
            said = f": {result['message']}" if result["message"] else ""
            console.print(
                f"{len(runs) - len(left) + done}/{len(runs)}  {run.name}  {result['status']} after "
                f"{result['seconds']:.0f} s{said}",
                highlight=False,
                soft_wrap=True,
                markup=False,
            )
            progress.advance(bar)
    if pool.signal:
        console.print(f"stopped by signal {pool.signal}; the same command goes on", highlight=False)
        return 128 + pool.signal
    failed = sum(result["status"] == "failed" for result in results.values())
    console.print(f"{len(runs) - failed} finished, {failed} failed, in {workdir}", highlight=False, soft_wrap=True)
    return 1 if failed else 0


def read_result(workdir: Path, run: SweepRun) -> dict[str, Any] | None:
    """What was recorded of a run that ended, finished or failed; None where it has not, or still is to be measured.

    Raises:
        UsageError: it was run with other arguments, as of an earlier form of the sweep.
    """
    path = Path(workdir) / RUNS / run.name / RESULT
    if not path.is_file():
        return None
    result = json.loads(path.read_text(encoding="utf-8"))
    if result["arguments"] != run.arguments:
        raise UsageError(f"{path.parent} was run with other arguments than the sweep now has; use another workdir")
    if result["status"] == "finished" and run.measure and read_measured(path.parent, run.measure) is None:
        return None
    return result


def _claim(workdir: Path, name: str) -> None:
    """Write which sweep it is; refuse a folder that holds another."""
    path = workdir / SWEEP
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        if path.is_file() and (there := json.loads(path.read_text(encoding="utf-8"))["sweep"]) != name:
            raise UsageError(f"workdir {workdir} holds the sweep {there}, not {name}; use another workdir")
        write_json(path, {"sweep": name})
    except (OSError, ValueError, KeyError) as error:
        if isinstance(error, UsageError):
            raise
        raise UsageError(f"workdir {workdir} cannot be used ({error}); give another folder") from error


class _Pool:
    """Processes of `experiments.train` and `experiments.measure`, each pinned to its share of the cores.

    SIGTERM and Ctrl-C reach them all.
    """

    def __init__(self, workers: int):
        self.signal: int | None = None
        self._workers = workers
        self._running: set[subprocess.Popen] = set()
        self._cores: queue.SimpleQueue = queue.SimpleQueue()
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        for number in range(workers):
            # More workers than cores share them.
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
            process.terminate()  # a training run saves where it stands

    def results(
        self, workdir: Path, runs: Sequence[SweepRun], show: Callable[[str], None]
    ) -> Iterator[tuple[SweepRun, dict[str, Any]]]:
        """(run, result) as they end; none more once a signal came."""
        with concurrent.futures.ThreadPoolExecutor(self._workers) as threads:
            waiting = {threads.submit(self._one, workdir, run, show): run for run in runs}
            for future in concurrent.futures.as_completed(waiting):
                if (result := future.result()) is not None:
                    yield waiting[future], result

    def _one(self, workdir: Path, run: SweepRun, show: Callable[[str], None]) -> dict[str, Any] | None:
        if self.signal:
            return None
        show(run.name)
        folder, cores, start = workdir / RUNS / run.name, self._cores.get(), time.monotonic()
        folder.mkdir(parents=True, exist_ok=True)
        place = f"--workdir={folder.resolve()}"
        programs = [["experiments.train", *run.arguments, place]]
        programs += [["experiments.measure", f"--measure={run.measure}", place]] if run.measure else []
        for program in programs:
            if (status := self._program(program, folder, cores)) or self.signal:
                break
        self._cores.put(cores)
        if self.signal:
            return None
        share = {"cores": len(cores) or os.cpu_count(), "workers": self._workers}
        return _record(folder, run, status, time.monotonic() - start, share)

    def _program(self, program: Sequence[str], folder: Path, cores: Sequence[int]) -> int:
        """Run it to its end; its exit status."""
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
                os.sched_setaffinity(process.pid, cores)  # before it has any thread
            self._running.add(process)
            if self.signal:  # it came between the look above and the start
                process.terminate()
            status = process.wait()
            self._running.discard(process)
        return status


def _record(folder: Path, run: SweepRun, status: int, seconds: float, share: dict[str, int]) -> dict[str, Any]:
    """Keep how a run ended, and on what share of the machine; of one that failed, the last line that it said."""
    path = folder / RESULT
    if path.is_file():
        earlier = json.loads(path.read_text(encoding="utf-8"))
        # It was trained before, and measured now.
        seconds += earlier["seconds"] if earlier["status"] == "finished" else 0
    said = (folder / LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    result = {
        "labels": run.point.labels,
        "seed": run.seed,
        "arguments": run.arguments,
        "status": "finished" if status == 0 else "failed",
        "message": "" if status == 0 else f"exit status {status}, {said[-1] if said else 'nothing said'}",
        "seconds": round(seconds, 1),
        **share,
    }
    write_json(path, result)
    return result
