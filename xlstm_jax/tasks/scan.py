"""Carry out commands (SCAN): whether a model generalises from the combinations that it has seen to others."""

import dataclasses
from typing import Any, Literal

import numpy as np

from xlstm_jax.config import PositiveInt
from xlstm_jax.data.pairs.batches import TokenPairs
from xlstm_jax.data.pairs.codec import Unit
from xlstm_jax.data.pairs.published import Pair, scan
from xlstm_jax.tasks.base import TASKS, Ratio
from xlstm_jax.tasks.pairs import PairsConfig, PairsTask


@dataclasses.dataclass(frozen=True)
class ScanConfig(PairsConfig, name="data"):
    split: Literal["simple", "length", "jump"] = "simple"  # which combinations are kept for testing
    unit: Unit = "words"  # of the tokens: byte pairs, or words between spaces
    vocab_size: PositiveInt = 300  # of byte pairs, for each side
    least_count: PositiveInt = 1  # words that occur less often in the training data are unknown


@TASKS.register("scan")
class Scan(PairsTask):
    """Actions given a command; cross-entropy. The checkpoint with the best validation accuracy is kept.

    Metrics: `accuracy`, the share of commands whose actions are all right, and no more of them; `token_accuracy` given
    the tokens before.
    """

    Config = ScanConfig
    best = ("accuracy", "higher")

    def _pairs(self) -> dict[str, list[Pair]]:
        return scan(self.config.split)

    def judge(self, predicted: Any, batch: TokenPairs) -> dict[str, Ratio]:
        there_B = batch.lengths_B > 0
        tokens_BT = np.asarray(predicted["tokens"])
        size = max(tokens_BT.shape[1], batch.target_BT.shape[1])
        # Both end with the token after a target, and are zero after it.
        rows = (np.pad(a, ((0, 0), (0, size - a.shape[1]))) for a in (tokens_BT, batch.target_BT))
        right_B = np.equal(*rows).all(axis=1) & there_B
        return {"accuracy": Ratio(np.float64(right_B.sum()), np.float64(there_B.sum()))}
