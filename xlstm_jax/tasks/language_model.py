"""Predict the next token of a text."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping
from typing import Any, Literal

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax

from xlstm_jax.data.sources import read_text
from xlstm_jax.data.text import Batch, split_tokens, train_dataset, validation_dataset
from xlstm_jax.data.tokenizers import TOKENIZERS
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import TASKS


@dataclasses.dataclass(frozen=True)
class DataConfig:
    source: str = "stdlib"  # a name in SOURCES
    path: str = ""  # a UTF-8 text file; wins over the source
    tokenizer: str = "byte"  # a name in TOKENIZERS
    train_fraction: float = 0.9  # the rest, at the end of the text, is for validation
    sampling: Literal["windows", "stream"] = "windows"
    sequence_length: int = 100  # tokens a row of a batch
    batch_size: int = 64  # rows a batch


@TASKS.register("language_model")
class LanguageModeling:
    """Next-token prediction on one text; loss in nats a token, beside it bits a byte.

    With `sampling` "windows" each row is a random window and starts from an empty carry; with "stream" each row reads
    on where it stopped, and the carry passes from batch to batch (backpropagation through time cut at batch ends).
    """

    Config = DataConfig

    def __init__(self, config: DataConfig, tokenizer: Any = None):
        for name in ("sequence_length", "batch_size"):
            if getattr(config, name) < 1:
                raise UsageError(f"data.{name} {getattr(config, name)} is not allowed; it is at least 1")
        if not 0 < config.train_fraction < 1:
            raise UsageError(f"data.train_fraction {config.train_fraction} is not allowed; it lies between 0 and 1")
        self.config = config
        self.tokenizer = tokenizer
        if tokenizer is None:
            self.tokenizer = TOKENIZERS.get(config.tokenizer).from_text(self._text)
            # A text too short shows here, before anything is built.
            self.train_dataset(seed=0)
            self.evaluation_dataset("validation", carry=False)

    @functools.cached_property
    def _text(self) -> str:
        return read_text(self.config.source, self.config.path)

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        """Tokens by split, read when first asked for: sampling from a saved run needs no data."""
        train, validation = split_tokens(self.tokenizer.encode(self._text), self.config.train_fraction)
        return {"train": train, "validation": validation}

    def fingerprint(self) -> str:
        return hashlib.sha256(self._text.encode("utf-8", "surrogatepass")).hexdigest()

    def model_fields(self) -> dict[str, Any]:
        return {"vocab_size": self.tokenizer.vocab_size}

    @property
    def passes_carry(self) -> bool:
        """Whether training hands the carry from batch to batch."""
        return self.config.sampling == "stream"

    def train_dataset(self, seed: int) -> grain.IterDataset:
        return train_dataset(
            self.splits["train"],
            sampling=self.config.sampling,
            sequence_length=self.config.sequence_length,
            batch_size=self.config.batch_size,
            seed=seed,
        )

    def evaluation_dataset(self, split: str, *, carry: bool) -> grain.IterDataset:
        if split not in self.splits:
            raise UsageError(f"split {split!r} is unknown; allowed: {', '.join(self.splits)}")
        config = self.config
        return validation_dataset(
            self.splits[split], sequence_length=config.sequence_length, batch_size=config.batch_size, carry=carry
        )

    def loss(self, model: Any, batch: Batch, carry: Any, key: jax.Array) -> tuple[jax.Array, Any]:
        reset = None if carry is None else batch.reset_BT
        logits_BTA, carry = model.unroll(batch.tokens_BT, carry, reset=reset, key=key)
        nats_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTA, batch.targets_BT)
        count = jnp.maximum(jnp.sum(batch.mask_BT, dtype=nats_BT.dtype), 1)
        return jnp.sum(jnp.where(batch.mask_BT, nats_BT, 0)) / count, carry

    def score(self, model: Any, batch: Batch, carry: Any) -> tuple[dict[str, jax.Array], Any]:
        logits_BTA, carry = model.unroll(batch.tokens_BT, carry, reset=None if carry is None else batch.reset_BT)
        nats_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTA, batch.targets_BT)
        right_BT = jnp.argmax(logits_BTA, axis=-1) == batch.targets_BT
        bytes_A = jnp.asarray(np.asarray(self.tokenizer.bytes_per_token, np.float32))
        sums = {
            "nats": jnp.sum(jnp.where(batch.mask_BT, nats_BT, 0)),
            "right": jnp.sum(right_BT & batch.mask_BT, dtype=jnp.float32),
            "tokens": jnp.sum(batch.mask_BT, dtype=jnp.float32),
            "bytes": jnp.sum(jnp.where(batch.mask_BT, bytes_A[batch.targets_BT], 0)),
        }
        return sums, carry

    def summarise(self, sums: Mapping[str, float]) -> dict[str, float]:
        loss = sums["nats"] / sums["tokens"]
        return {
            "loss": loss,
            "bits_per_byte": sums["nats"] / (math.log(2) * sums["bytes"]),
            "perplexity": math.exp(min(loss, 700.0)),  # e^700 is near the largest float
            "accuracy": sums["right"] / sums["tokens"],
            "tokens": sums["tokens"],
        }
