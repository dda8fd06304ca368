"""A sweep: a question, a base config, and the points to run."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple


class Point(NamedTuple):
    labels: dict[str, str]  # axis -> setting, for folders, tables and figures
    changes: dict[str, Any]  # dotted config key -> value; the key "config" names another config file and variant


Axis = Sequence[Point]


def axis(name: str, settings: Mapping[str, Mapping[str, Any]]) -> Axis:
    """An axis with named settings: axis("gate", {"exp": {"model.mlstm.input_gate": "exp"}, ...})."""
    return [Point({name: label}, dict(changes)) for label, changes in settings.items()]


def values(key: str, options: Sequence[Any], name: str | None = None) -> Axis:
    """An axis over values of one config key; `name` defaults to the last part of the key."""
    return axis(name or key.rpartition(".")[2], {str(option): {key: option} for option in options})


def product(*axes: Axis) -> Axis:
    """All combinations; the last axis varies fastest."""
    return [_joined(points) for points in itertools.product(*axes)]


def zipped(*axes: Axis) -> Axis:
    """Combines axes like `zip`: the first settings of all, then the second, ...

    Raises:
        ValueError: the axes have different lengths.
    """
    return [_joined(points) for points in zip(*axes, strict=True)]


def _joined(points: Sequence[Point]) -> Point:
    labels, changes = ([getattr(point, field).items() for point in points] for field in Point._fields)
    return Point(dict(itertools.chain(*labels)), dict(itertools.chain(*changes)))


class SweepRun(NamedTuple):
    """One run of `experiments.train`."""

    name: str  # of the run's folder
    point: Point
    seed: int  # or another value of `Sweep.repeated`
    config: str  # file and variant
    overrides: dict[str, Any]
    measure: str

    @property
    def arguments(self) -> list[str]:
        """The arguments of `experiments.train`, without the workdir."""
        return [f"--config={self.config}", *(f"--config.{key}={value}" for key, value in self.overrides.items())]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """One run for each point and seed. Lists of points can be concatenated: `product(...) + zipped(...)`.

    Args:
        question: what the sweep answers, a sentence for the report.
        config: file and variant that every run starts from; a point's "config" replaces it.
        points: made by `axis`, `values`, `product`, `zipped`; all with the same axes.
        changes: values of config keys for all points; those of a point take precedence.
        seeds: for the parameters and the order of the data; values of `repeated`.
        repeated: the config key in which the runs of a point differ: "seed", or "data.fold" for a cross-validation.
        metric: a key of metrics.jsonl; its value at the last step is reported.
        better: "lower" or "higher", whichever is better for the metric.
        also: further metrics to report, for runs that have them.
        over_steps: the metric that the figure shows over the steps; "": `metric`.
        best_of: an axis of which the report keeps only the best setting, such as the learning rate; "" keeps all.
        log: axes and metrics that the figure shows on a log scale.
        threshold: a value of the metric; the report says up to which number along an axis it is reached.
        measure: a measure to run on each trained model, for the figure (see `experiments.measure`); "" for none.
        published: the published result to compare with, and its source; "" if there is none.
    """

    question: str
    config: str
    points: Axis
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seeds: Sequence[int] = (0,)
    repeated: str = "seed"
    metric: str = "validation/loss"
    better: str = "lower"
    also: Sequence[str] = ()
    over_steps: str = ""
    best_of: str = ""
    log: Sequence[str] = ()
    threshold: float | None = None
    measure: str = ""
    published: str = ""

    def __post_init__(self):
        axes = {tuple(point.labels) for point in self.points}
        if len(axes) != 1:
            raise ValueError(f"all points of a sweep must have one set of axes; these have {sorted(axes)}")
        names = [run.name for run in self.runs()]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"points {sorted(twice)} are given twice")
        if self.better not in ("lower", "higher"):
            raise ValueError(f"better {self.better!r} is not allowed; choose lower or higher")
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
    def repeat(self) -> str:
        """The last part of `repeated`, for the names of runs and for tables."""
        return self.repeated.rpartition(".")[2]

    @property
    def metrics(self) -> tuple[str, ...]:
        return (self.metric, *self.also)

    @property
    def kept(self) -> tuple[str, ...]:
        """The axes whose settings each have a row or a line in the report: all but `best_of`."""
        return tuple(name for name in self.axes if name != self.best_of)

    @property
    def along(self) -> str:
        """The kept axis with the most settings among those with two or more, all numbers; "" if there is none."""
        settings = {name: {point.labels[name] for point in self.points} for name in self.kept}
        numeric = [name for name in self.kept if len(settings[name]) > 1 and all(map(is_number, settings[name]))]
        return max(numeric, key=lambda name: len(settings[name]), default="")

    def is_better(self, one: float, two: float) -> bool:
        """Whether one value of the metric is better than another. Any number is better than NaN."""
        if math.isnan(one) or math.isnan(two):
            return not math.isnan(one)
        return one < two if self.better == "lower" else one > two

    def reached(self, value: float) -> bool:
        """Whether a value of the metric is at least as good as the threshold."""
        return not math.isnan(value) and not self.is_better(self.threshold, value)

    def runs(self) -> Iterator[SweepRun]:
        """Yields every run, in order."""
        for point, seed in itertools.product(self.points, self.seeds):
            changes = {**self.changes, **point.changes}
            config = changes.pop("config", self.config)
            labels = {**point.labels, self.repeat: str(seed)}
            name = ",".join(f"{axis}={_plain(label)}" for axis, label in labels.items())
            yield SweepRun(name, point, seed, config, {**changes, self.repeated: seed}, self.measure)


def is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True


def _plain(label: str) -> str:
    """Replaces characters that some file systems do not allow."""
    return "".join(c if c.isalnum() or c in "._-+" else "_" for c in label)
