"""Collects the samples that the runs of a sweep wrote at their end."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from experiments.sweeping.base import Sweep
from experiments.sweeping.results import RUNS
from xlstm_jax.files import replacing
from xlstm_jax.train.workdir.metrics import SAMPLE


def write_samples(sweep: Sweep, rows: Sequence[Any], workdir: Path, out: Path) -> str:
    """Writes samples.md to `out`. Returns ", samples.md", or "" if no run has a sample (`sample.length` 0).

    One text for each point, from the first seed that has one, in the order of `rows` (from `records.collect`).
    """
    parts = []
    for row in rows:
        paths = (workdir / RUNS / outcome.run.name / SAMPLE for outcome in row.finished)
        path = next((path for path in paths if path.is_file()), None)
        if path is not None:
            name, text = ", ".join(row.point.labels.values()), path.read_text(encoding="utf-8", errors="replace")
            parts.append(f"## {name}\n\n{sweep.metric} {row.mean(sweep.metric):.4f}\n\n{_indented(text)}\n")
    if not parts:
        return ""
    with replacing(out / "samples.md") as temporary:
        temporary.write_text("\n".join([f"{sweep.question} A sample of each:\n", *parts]), encoding="utf-8")
    return ", samples.md"


def _indented(text: str) -> str:
    """Formats any text as a Markdown code block."""
    return "\n".join(f"    {line}".rstrip() for line in text.splitlines())
