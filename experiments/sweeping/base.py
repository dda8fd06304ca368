"""What a sweep is: a question, a base config, and the points at which it is run."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Point(NamedTuple):
    labels: dict[str, str]  # by axis, for folders, tables and figures
    changes: dict[str, Any]  # "config": another config file with its variant; else values by config key, with dots


Axis = Sequence[Point]


def axis(name: str, settings: Mapping[str, Mapping[str, Any]]) -> Axis:
    """An axis whose settings have names: axis("gate", {"exp": {"model.mlstm.input_gate": "exp"}, ...})."""
    return [Point({name: label}, dict(changes)) for label, changes in settings.items()]


def values(key: str, options: Sequence[Any], name: str | None = None) -> Axis:
    """An axis over the values of one config key; `name` is the key's last part where none is given."""
    return axis(name or key.rpartition(".")[2], {str(option): {key: option} for option in options})


def product(*axes: Axis) -> Axis:
    """Every combination, the last axis the fastest."""
    return [_joined(points) for points in itertools.product(*axes)]


def zipped(*axes: Axis) -> Axis:
    """The axes side by side: the first setting of each, then the second, ...

    Raises:
        ValueError: axes of different lengths.
    """
    return [_joined(points) for points in zip(*axes, strict=True)]


def _joined(points: Sequence[Point]) -> Point:
    labels, changes = ([getattr(point, field).items() for point in points] for field in Point._fields)
    return Point(dict(itertools.chain(*labels)), dict(itertools.chain(*changes)))


class SweepRun(NamedTuple):
    """One run of `experiments.train`."""

    name: str  # of its folder
    point: Point
    seed: int
    config: str  # file and variant
    overrides: dict[str, Any]
    measure: str

    @property
    def arguments(self) -> list[str]:
        """Of `experiments.train`, but for the workdir."""
        return [f"--config={self.config}", *(f"--config.{key}={value}" for key, value in self.overrides.items())]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """Runs at every point with every seed. Lists of points (`product(...) + zipped(...)`) are swept one after another.

    Args:
        question: what the sweep answers, a sentence for the report.
        config: file and variant that every run starts from; a point's "config" replaces it.
        points: made by `axis`, `values`, `product`, `zipped`; all with the same axes.
        changes: config keys with values that hold at every point; a point's own win.
        seeds: of parameters and data order.
        metric: of metrics.jsonl, at the last step.
        better: whether "lower" or "higher" values of it are.
        also: further metrics that the report shows beside it, where a run has them.
        best_of: an axis of which the report keeps the best setting alone, as of learning rates; "" keeps every one.
        log: axes and metrics that the figure draws on a log scale.
        threshold: of the metric; the report gives the largest number along an axis at which it is reached.
        measure: what `experiments.measure` takes of each run once it is trained, for the figure; "" for nothing.
        published: the result it is held against, with its source; "" where there is none.
    """

    question: str
    config: str
    points: Axis
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    metric: str = "validation/loss"
    better: str = "lower"
    also: Sequence[str] = ()
    best_of: str = ""
    log: Sequence[str] = ()
    threshold: float | None = None
    measure: str = ""
    published: str = ""

    def __post_init__(self):
        axes = {tuple(point.labels) for point in self.points}
        if len(axes) != 1:
            raise ValueError(f"a sweep has points of one set of axes, and these are of {sorted(axes)}")
        names = [run.name for run in self.runs()]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"points {sorted(twice)} are given twice")
        if self.better not in ("lower", "higher"):
            raise ValueError(f"better {self.better!r} is not allowed; it is lower or higher")
        for field, given, known in (
            ("best_of", [self.best_of] if self.best_of else [], self.axes),
            ("log", self.log, (*self.axes, *self.metrics)),
        ):
            if unknown := sorted({*given} - {*known}):
                raise ValueError(f"{field} {unknown} is not allowed; known: {', '.join(known)}")
        if self.threshold is not None and not self.along:
            raise ValueError(f"threshold {self.threshold} is not allowed; no axis has numbers for its settings")

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(self.points[0].labels)

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric, *self.also)

    @property
    def kept(self) -> tuple[str, ...]:
        """The axes that the report has a row or a line for each setting of: all but `best_of`."""
        return tuple(name for name in self.axes if name != self.best_of)

    @property
    def along(self) -> str:
        """The kept axis whose settings are numbers, and the most, two or more; "" where there is none."""
        settings = {name: {point.labels[name] for point in self.points} for name in self.kept}
        numeric = [name for name in self.kept if len(settings[name]) > 1 and all(map(is_number, settings[name]))]
        return max(numeric, key=lambda name: len(settings[name]), default="")

    def is_better(self, one: float, two: float) -> bool:
        """Whether one value of the metric is better than another; any is better than NaN."""
        if math.isnan(one) or math.isnan(two):
            return not math.isnan(one)
        return one < two if self.better == "lower" else one > two

    def reached(self, value: float) -> bool:
        """Whether a value of the metric is as good as the threshold."""
        return not math.isnan(value) and not self.is_better(self.threshold, value)

    def runs(self) -> Iterator[SweepRun]:
        """Every run, in order."""
        for point, seed in itertools.product(self.points, self.seeds):
            changes = {**self.changes, **point.changes}
            config = changes.pop("config", self.config)
            labels = {**point.labels, "seed": str(seed)}
            name = ",".join(f"{axis}={_plain(label)}" for axis, label in labels.items())
            yield SweepRun(name, point, seed, config, {**changes, "seed": seed}, self.measure)


def is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _plain(label: str) -> str:
    """The label in characters that every file system takes."""
    return "".join(c if c.isalnum() or c in "._-+" else "_" for c in label)
