"""A run's readable output: `metrics.jsonl`, TensorBoard events, `loss.png`, `sample.txt`."""

import io
import json
import os
import re
import socket
import struct
import time
from pathlib import Path
from typing import Any

from xlstm_jax.console import say
from xlstm_jax.files import replacing

JSONL, FIGURE, SAMPLE = "metrics.jsonl", "loss.png", "sample.txt"
# Metrics that depend on timing; all others are the same if a run is repeated.
TIMED = ("train/tokens_per_second", "train/model_flops_per_second", "train/utilisation")


class MetricWriter:
    """Appends records as JSON lines, each a flat object with `step`, and as TensorBoard events.

    First drops records after `last_step`: a run killed after its last checkpoint leaves them, and the resumed run
    writes those steps again. Only the `primary` process writes; the others do nothing.

    Lines are never partial: if the disk is full, nothing of the line is written and an OSError is raised.
    """

    def __init__(self, workdir: Path, last_step: int, *, primary: bool = True):
        self._primary = primary
        if not primary:
            return
        self._path = Path(workdir) / JSONL
        kept = [record for record in read_metrics(workdir) if last_step and record["step"] <= last_step]
        with replacing(self._path) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        self._file = self._path.open("ab", buffering=0)
        self._events = Events(workdir, purge_step=last_step + 1 if last_step else None)

    def write(self, step: int, values: dict[str, float]) -> None:
        if not self._primary:
            return
        _append(self._file, (json.dumps({"step": step, **values}) + "\n").encode())
        self._events.write(step, values)

    def close(self) -> None:
        if not self._primary:
            return
        self._file.close()
        self._events.close()


class Events:
    """TensorBoard's event file of scalars, written synchronously: tensorboardX loses errors in its writer thread.

    With `purge_step`, TensorBoard discards that step and later ones of earlier files.
    """

    def __init__(self, workdir: Path, purge_step: int | None):
        from tensorboardX.proto import event_pb2

        self._event = event_pb2.Event
        name = f"events.out.tfevents.{time.time():.0f}.{socket.gethostname()}"
        self._file = (Path(workdir) / name).open("wb", buffering=0)
        self._record(self._event(wall_time=time.time(), file_version="brain.Event:2"))
        if purge_step is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._record(self._event(wall_time=time.time(), step=purge_step, session_log=start))

    def write(self, step: int, values: dict[str, float]) -> None:
        from tensorboardX.summary import scalar

        now = time.time()
        self._record(*(self._event(wall_time=now, step=step, summary=scalar(*item)) for item in values.items()))

    def _record(self, *events: Any) -> None:
        from tensorboardX.record_writer import masked_crc32c

        data = b""
        for event in events:
            record = event.SerializeToString()
            length = struct.pack("<Q", len(record))
            sums = [struct.pack("<I", masked_crc32c(part)) for part in (length, record)]
            data += length + sums[0] + record + sums[1]
        _append(self._file, data)

    def close(self) -> None:
        self._file.close()


def _append(file: io.FileIO, data: bytes) -> None:
    """Appends all of the data; on failure appends none and raises an OSError that names the file."""
    before = os.fstat(file.fileno()).st_size
    try:
        while data:
            data = data[file.write(data) :]
    except OSError as error:
        file.truncate(before)
        raise OSError(error.errno, error.strerror, file.name) from error


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """Returns all records of a workdir in order.

    Leaves out an incomplete last line, as from a killed process. Keeps the complete records in other damaged lines, as
    from a failing disk, and prints a message that names the line.
    """
    path = Path(workdir) / JSONL
    if not path.exists():
        return []
    *lines, last = path.read_bytes().split(b"\n")
    records, damaged, saved = [], [], 0
    for number, line in enumerate(lines, start=1):
        if (record := _record(line)) is not None:
            records.append(record)
            continue
        damaged.append(number)
        saved += len(whole := _whole_records(line))
        records += whole
    records += [record] if (record := _record(last)) is not None else []
    if damaged:
        lines = f"line {damaged[0]} is" if len(damaged) == 1 else f"{len(damaged)} lines from line {damaged[0]} on are"
        whole = f" and {saved} complete {'record' if saved == 1 else 'records'} in damaged lines" if saved else ""
        say(f"{path}: {lines} damaged; keeping all other lines{whole}")
    return records


def _record(line: bytes) -> dict[str, Any] | None:
    """Parses a line with one record of numbers; returns None for anything else."""
    try:
        record = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict) or type(record.get("step")) is not int or record["step"] < 0:
        return None
    numbers = all(isinstance(value, float) or (type(value) is int and abs(value) < 2**63) for value in record.values())
    return record if numbers else None


def _whole_records(line: bytes) -> list[dict[str, Any]]:
    """The complete records in a damaged line. Records are flat, so each ends at the next closing brace."""
    found = re.findall(rb'\{"step": [^{}]*\}', line)
    return [record for text in found if (record := _record(text)) is not None]


def draw_losses(workdir: Path, unit: str) -> Path:
    """Plots training and validation loss against the step as `loss.png`; `unit` is the loss's, like "nats per byte"."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    records = read_metrics(workdir)
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    styles = {"train/loss": {"lw": 1, "alpha": 0.8}, "validation/loss": {"lw": 2, "marker": "o", "ms": 4}}
    for name, style in styles.items():
        points = [(record["step"], record[name]) for record in records if name in record]
        if points:
            axes.plot(*zip(*points, strict=True), label=name.removesuffix("/loss"), **style)
    validation = [(record["validation/loss"], record["step"]) for record in records if "validation/loss" in record]
    if validation:
        loss, step = min(validation)
        axes.set_title(f"best validation loss {loss:.4f} {unit}, step {step}", fontsize=10)
    axes.set_xlabel("step")
    axes.set_ylabel(unit)
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    path = Path(workdir) / FIGURE
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)
    return path
