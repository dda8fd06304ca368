"""The contract that every task keeps, and the registry of tasks."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

import grain
import jax

from xlstm_jax.data.batches import ALL_ROWS
from xlstm_jax.registry import Registry

TASKS: Registry[type["Task"]] = Registry("task", package="xlstm_jax.tasks")


class Task(Protocol):
    """A learning problem: its data, its loss, its metrics. `__init__(config, tokenizer=None)` reads the data.

    A given tokenizer is used as it is (that of a saved run); else one is made from the data.
    """

    Config: ClassVar[type]  # frozen dataclass, made from the config's section `data`, with batch_size, sequence_length
    config: Any
    tokenizer: Any  # `data.tokenizers.NoText` where the data are no text
    splits: Mapping[str, Any]  # the data by split
    evaluated: tuple[str, ...]  # the splits scored while training; the loss of the first picks the best checkpoint
    passes_carry: bool  # whether training hands the carry from batch to batch
    loss_at_chance: float  # of a model whose outputs are all zero
    loss_unit: str  # of the loss, for people: "nats per byte"

    def fingerprint(self) -> str:
        """A digest of the data: a resumed run must find the same."""

    def summary(self) -> str:
        """A few words on the data, for people."""

    def model_fields(self) -> dict[str, Any]:
        """Fields of `ModelConfig` that the data fixes, such as `vocab_size`."""

    def train_dataset(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        """Those rows of batches without end, a pure function of the seed and the batch's index."""

    def evaluation_dataset(self, split: str, *, carry: bool, rows: slice = ALL_ROWS) -> grain.IterDataset:
        """Those rows of batches that cover the split exactly once; with `carry` in an order in which it can be passed
        on."""

    def loss(self, model: Any, batch: Any, carry: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        """Mean loss of a training batch, in nats, and the carry after it; `carry` None starts every row afresh."""

    def weight(self, batch: Any) -> jax.Array:
        """What a batch's loss is divided by, float32: what its loss counts for in a mean over several batches."""

    def score(self, model: Any, batch: Any, carry: Any) -> tuple[dict[str, jax.Array], Any]:
        """Sums over an evaluation batch, to be added up over batches, and the carry after it."""

    def summarise(self, sums: Mapping[str, Any]) -> dict[str, float]:
        """Metrics from the sums over a whole split, float64 in the shapes `score` gave; `loss` is among them."""

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        """For people: what was measured and how, and the result."""
