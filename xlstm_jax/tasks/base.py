"""The task interface, the ratios that tasks return, and the registry of tasks."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import Section
from xlstm_jax.data.batches import ALL_ROWS
from xlstm_jax.errors import UsageError
from xlstm_jax.models.config import ModelConfig, StackConfig
from xlstm_jax.registry import Registry

TASKS: Registry[type["Task"]] = Registry("task", package="xlstm_jax.tasks")


class Ratio(NamedTuple):
    """total / count, kept apart: ratios add over parts of a batch, batches, devices and processes.

    Both are float32 arrays of one shape on the device, float64 once they are added up on the host.
    """

    total: Any
    count: Any

    @property
    def value(self) -> Any:
        """total / count; NaN or infinite where the count is 0."""
        return self.total / self.count


class Outcome(NamedTuple):
    """Loss and metrics of one batch, and the carry after it."""

    loss: Ratio  # its value is minimised
    ratios: dict[str, Ratio]  # further metrics; training does not compute them
    carry: Any  # what passes to the next batch


@dataclasses.dataclass(frozen=True)
class NoExample(Section, name="sample"):
    """The section `sample` of tasks that show no example at the end of training."""


class Loan(NamedTuple):
    """A trained run of which a model takes over parameters, and leaves them as they are."""

    key: str  # of the config, that names the run; for messages
    workdir: str  # of the run
    task: str  # the run's, a name in `TASKS`
    part: tuple[str, ...]  # where the parameters are in the run's model
    place: tuple[str, ...]  # where they are in the model that takes them over


class Task:
    """A learning problem: its data, codec, model, loss and metrics.

    A subclass is registered under its name. It is constructed from the section `data` and, for a saved run, that run's
    codec. With a codec, it reads data only when they are needed, because predictions need none. No other part of the
    project depends on the contents of its batches.

    A task with `borrowed` parameters is constructed without a codec from one more argument, `lender`: the codec and the
    section `model` of the run that they are from. Its codec keeps both, as `lent`.

    A batch is a NamedTuple of arrays whose first axis is the batch (or None for a field that it lacks); its first field
    is what the model reads. Rows of different lengths come with their lengths, `lengths_B`.

    Attributes:
        Config: frozen dataclass of the section `data`; it has `batch_size`, as a field or a property.
        Model: frozen dataclass of the section `model`.
        Example: dataclass of the section `sample`: how the example shown at the end of training is made.
        codec: converts raw input to arrays and results to readable form: vocabularies, label names, scaling. It has
            `to_json()`, and is saved with the run. `decode`, the inverse of `read`, writes a row of a batch as a user
            would type it; codecs whose inputs are files do without.
        splits: evaluation splits by name.
        evaluated: the splits that are scored during training.
        held_out: the splits that the best checkpoint is scored on once, when training ends.
        best: name of the metric that selects the best checkpoint, on the first split of `evaluated`, and which of its
            values are better.
        unit: of the loss, for people, such as "nats per byte".
        detail: parts of an answer for programs and figures only, such as matrices.
        passes_carry: whether training hands the carry from batch to batch.
        loss_at_chance: loss of a model whose outputs are all zero.
    """

    Config: ClassVar[type]
    Model: ClassVar[type[StackConfig]] = ModelConfig
    Example: ClassVar[type[Section]] = NoExample

    config: Any
    codec: Any
    splits: Mapping[str, Any]
    evaluated: tuple[str, ...] = ("validation",)
    held_out: tuple[str, ...] = ()
    best: tuple[str, Literal["lower", "higher"]] = ("loss", "lower")
    unit: str
    detail: tuple[str, ...] = ()
    passes_carry: bool = False
    loss_at_chance: float

    def __init__(self, config: Any, codec: Any = None):
        """Reads the data, and makes a codec from them if none is given."""
        raise NotImplementedError

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> Any:
        """The inverse of the codec's `to_json`; raises `UsageError` if the data cannot come from it."""
        raise NotImplementedError

    @classmethod
    def borrowed(cls, config: Any) -> Loan | None:
        """The run that a part of the model is from, by the section `data`; that part has the metadata `frozen`."""
        return None

    def fingerprint(self) -> str:
        """A digest of the data: a resumed run must find the same."""
        raise NotImplementedError

    def summary(self) -> str:
        """A few words on the data, for people."""
        raise NotImplementedError

    def build(self, config: StackConfig, *, rngs: nnx.Rngs) -> nnx.Module:
        """The model, freshly initialised, from the section `model`."""
        raise NotImplementedError

    def train_batches(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        """The given rows of endless batches, a pure function of the seed and the batch's index."""
        raise NotImplementedError

    def batches(self, split: str, *, carry: bool = False, rows: slice = ALL_ROWS) -> grain.IterDataset:
        """The given rows of batches that cover a split exactly once; with `carry`, in an order in which it can pass."""
        raise NotImplementedError

    def axes(self, batch: Any) -> Any:
        """Logical axes of each leaf, in a batch of the same form; see `xlstm_jax.sharding.AXES`."""
        return jax.tree.map(lambda leaf: ("batch", "time", *(None,) * leaf.ndim)[: leaf.ndim], batch)

    def init_carry(self, model: nnx.Module, batch_size: int) -> Any:
        """The carry before the first batch.

        Raises:
            UsageError: there is none, because the rows are independent.
        """
        raise UsageError("each row of this task starts from an empty state; leave evaluation.carry and --carry off")

    def forward(self, model: nnx.Module, batch: Any, carry: Any, key: jax.Array | None) -> Outcome:
        """Loss and metrics of a batch, in training (with a key, for dropout) and in evaluation (without).

        `carry` is from the previous batch; None: every row starts from an empty state.
        """
        raise NotImplementedError

    def predict(self, model: nnx.Module, batch: Any) -> Any:
        """A tree of arrays [B, ...] from which `render` and `judge` make answers. Compiled; optional."""
        raise UsageError(f"{type(self).__name__} makes no predictions; override predict, or use another task")

    def judge(self, predicted: Any, batch: Any) -> dict[str, Ratio]:
        """Metrics computed on the host, such as counts of words in decoded text; empty by default."""
        return {}

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        """Metrics that are functions of several sums or of a sum's value, `loss` among the ratios."""
        return {}

    def calibration(self, ratios: Mapping[str, Ratio]) -> dict[str, tuple[Sequence[float], Sequence[float]]]:
        """By name, predicted probabilities, increasing, and how often what they are of came true; optional."""
        raise UsageError(f"{type(self).__name__} predicts no probabilities that could be compared with frequencies")

    def read(self, text: str) -> Any:
        """One example for `collate`, from a user's input or one line of a file.

        Raises:
            UsageError: it is empty, too long, or not what the task reads.
        """
        raise UsageError(f"{type(self).__name__} reads no input; override read, or use another task")

    def blank(self, length: int) -> Any:
        """An example of that many steps, as `read` makes them, for its shape."""
        raise UsageError(f"{type(self).__name__} makes no predictions; override predict, or use another task")

    def collate(self, examples: list[Any]) -> Any:
        """A batch for `predict` of examples from `read`, padded to a power of two of steps, 8 at least."""
        raise NotImplementedError

    def render(self, predicted: Any, example: Any) -> dict[str, Any]:
        """The answer for one example, as JSON, from its row of what `predict` gave."""
        raise NotImplementedError

    def draw(self, axes: Any, answer: dict[str, Any], example: Any) -> None:
        """Draws what `render` gave for one example on Matplotlib axes; optional."""
        raise UsageError(f"{type(self).__name__} draws no figure; leave --figure out")

    def check_example(self, options: Any) -> None:
        """Raises `UsageError` if no example can be made at the end of training; called before it starts."""

    def example(self, model: nnx.Module, options: Any, seed: int) -> str | None:
        """An example made by the trained model, as text; None if the task shows none."""
        return None

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        """One line for people: what was measured, and the result."""
        del carry
        others = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in result.items() if name != "loss")
        return f"{split} loss {result['loss']:.4f} {self.unit}" + (f", {others}" if others else "")


def added(sums: Mapping[str, Ratio], ratios: Mapping[str, Ratio]) -> dict[str, Ratio]:
    """Both summed, in float64 on the host: float32 sums would lose digits over a long split."""
    total = dict(sums)
    for name, ratio in ratios.items():
        wide = Ratio(*(np.asarray(part, np.float64) for part in ratio))
        total[name] = Ratio(*map(np.add, total[name], wide)) if name in total else wide
    return total


def mean(ratio: Ratio) -> jax.Array:
    """The ratio's value in the total's dtype; 0 / 0 is 0."""
    return ratio.total / jnp.maximum(ratio.count, 1).astype(ratio.total.dtype)


def metrics(task: Task, ratios: Mapping[str, Ratio]) -> dict[str, float]:
    """Every ratio of one number as its value, `loss` among them, and what the task derives from all of them."""
    values = {name: _value(ratio) for name, ratio in ratios.items() if not getattr(ratio.total, "shape", ())}
    return values | task.derive(ratios)


def _value(ratio: Ratio) -> float:
    total, count = float(ratio.total), float(ratio.count)
    return total / count if count else float("inf") * total if total else float("nan")


def unknown_split(split: str, splits: Mapping[str, Any]) -> UsageError:
    """The error for a split that a task does not have."""
    return UsageError(f"split {split!r} is unknown; allowed: {', '.join(splits)}")
