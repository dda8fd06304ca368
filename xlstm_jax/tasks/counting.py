"""Predict the next symbol of a^n b^n or a^n b^n c^n, trained on small n and tested on larger ones too."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.config import NonNegativeInt, PositiveInt, Section
from xlstm_jax.data.codecs import Symbols
from xlstm_jax.data.problems.base import FixedRows
from xlstm_jax.data.problems.counting import LANGUAGES, SYMBOLS, A, Counting, batch, steps, vocab_size
from xlstm_jax.data.problems.legal_symbols import LegalRows
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio
from xlstm_jax.tasks.legal_symbols import LegalSymbolsTask


@dataclasses.dataclass(frozen=True)
class CountingConfig(Section, name="data"):
    language: Literal["anbn", "anbncn"] = "anbn"  # the strings to count
    longest: PositiveInt = 10  # n of the longest training string
    longest_tested: NonNegativeInt = 100  # n of the longest of the split "long", over `longest`; 0: no such split
    target: Literal["symbol", "legal"] = "legal"  # compared by the loss: the next symbol, or all that may follow
    batch_size: PositiveInt = 64

    @property
    def letters(self) -> str:
        return LANGUAGES[self.language]

    @property
    def sequence_length(self) -> int:
        return steps(self.letters, self.longest)

    @property
    def long_length(self) -> int:
        return self.longest_tested and steps(self.letters, self.longest_tested)


@TASKS.register("counting")
class CountingTask(LegalSymbolsTask):
    """Training draws n from 1 to `longest`; "validation" has each of these once, "long" each from there on.

    `solved` is the share of a split's n whose string is accepted; `largest_n` is the last n before the split's first
    string that is not.
    """

    Config = CountingConfig

    @property
    def outputs(self) -> int:
        return vocab_size(self.config.letters)

    def make_codec(self) -> Symbols:
        return Symbols(SYMBOLS[: self.outputs])

    def problem(self, split: str, length: int) -> Any:
        del length
        config = self.config
        if split == "train":
            return Counting(config.letters, config.longest)
        if split == "validation":
            return FixedRows(batch(config.letters, np.arange(1, config.longest + 1), config.sequence_length))
        if config.longest_tested <= config.longest:
            raise UsageError(
                f"data.longest_tested {config.longest_tested} is not allowed; must be over data.longest "
                f'{config.longest}, or 0 for no split "long"'
            )
        return FixedRows(
            batch(config.letters, np.arange(config.longest, config.longest_tested) + 1, config.long_length)
        )

    def scored(self, logits_BQA: jax.Array, batch: LegalRows, carry: Any) -> Outcome:
        """Also, by n, how many strings there were, and how many of them were accepted."""
        n_B = jnp.sum(batch.inputs_BT == A, axis=1, dtype=jnp.int32)
        row_B = jnp.any(batch.mask_BT, axis=1)
        accepted_B = row_B & jnp.all(self.right(logits_BQA, batch) | ~batch.mask_BT, axis=1)
        zeros_N = jnp.zeros(max(self.config.longest, self.config.longest_tested) + 1, jnp.float32)
        counts_N = (zeros_N.at[n_B].add(rows_B.astype(jnp.float32)) for rows_B in (accepted_B, row_B))
        outcome = super().scored(logits_BQA, batch, carry)
        outcome.ratios["accepted_N"] = Ratio(*counts_N)
        return outcome

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        accepted_N, tested_N = ratios["accepted_N"]
        failed = np.flatnonzero(accepted_N < tested_N)
        largest = failed[0] - 1 if len(failed) else np.flatnonzero(tested_N)[-1]
        return super().derive(ratios) | {"largest_n": float(largest)}

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        described = super().describe(result, split, carry=carry)
        return f"{described}, all accepted up to n = {result['largest_n']:.0f}"
