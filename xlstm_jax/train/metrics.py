"""What a run writes for people: `metrics.jsonl`, TensorBoard events, `loss.png`."""

import json
from pathlib import Path
from typing import Any

from xlstm_jax.files import replacing

JSONL, FIGURE = "metrics.jsonl", "loss.png"
# What a clock measures: all else is the same in a run that is repeated.
TIMED = ("train/tokens_per_second", "train/model_flops_per_second", "train/utilisation")


class MetricWriter:
    """Appends flat records, one JSON object a line with `step` in it, and the same numbers as TensorBoard events.

    Records after `last_step`, left by a run that was killed past its last checkpoint, are dropped first: the resumed
    run writes those steps again.
    """

    def __init__(self, workdir: Path, last_step: int):
        from tensorboardX import SummaryWriter

        self._path = Path(workdir) / JSONL
        kept = [record for record in read_metrics(workdir) if last_step and record["step"] <= last_step]
        with replacing(self._path) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        self._file = self._path.open("a", encoding="utf-8")
        self._events = SummaryWriter(str(workdir), purge_step=last_step + 1 if last_step else None)

    def write(self, step: int, values: dict[str, float]) -> None:
        self._file.write(json.dumps({"step": step, **values}) + "\n")
        self._file.flush()
        for name, value in values.items():
            self._events.add_scalar(name, value, step)

    def close(self) -> None:
        self._file.close()
        self._events.close()


def read_metrics(workdir: Path) -> list[dict[str, Any]]:
    """All records of a workdir in order; a last line cut off by a kill is left out."""
    path = Path(workdir) / JSONL
    if not path.exists():
        return []
    records = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def draw_losses(workdir: Path, unit: str) -> Path:
    """Draw training and validation loss against the step as `loss.png`; `unit` is what one target is called."""
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
        axes.set_title(f"best validation loss {loss:.4f} nats per {unit}, step {step}", fontsize=10)
    axes.set_xlabel("step")
    axes.set_ylabel(f"nats per {unit}")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    path = Path(workdir) / FIGURE
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130)
    return path
