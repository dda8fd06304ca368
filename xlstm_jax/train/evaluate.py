"""Metrics over a whole split, and predictions."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from xlstm_jax.tasks.base import Ratio, Task, added, metrics
from xlstm_jax.train.build import Parts


def evaluate(parts: Parts, params: Any, split: str, *, carry: bool = False) -> dict[str, float]:
    """Metrics over a whole split.

    Args:
        params: of the model.
        split: a name in the task's splits.
        carry: pass the state from batch to batch; otherwise every row starts from an empty state.

    Raises:
        UsageError: an unknown split, or `carry` for a task whose rows are independent.
    """
    return metrics(parts.task, sums_over(parts, params, split, carry=carry))


def sums_over(parts: Parts, params: Any, split: str, *, carry: bool = False) -> dict[str, Ratio]:
    """The task's ratios, added over a whole split; arguments and errors are those of `evaluate`."""
    task, placement = parts.task, parts.placement
    sums: dict[str, Ratio] = {}
    state = _first_carry(parts, params) if carry else None
    judges = type(task).judge is not Task.judge
    for local in task.batches(split, carry=carry, rows=placement.rows):
        batch = placement.batch(local)
        ratios, after = _score(parts)(params, batch, state)
        state = after if carry else None
        ratios = jax.device_get(ratios)
        if judges:
            ratios |= _over_processes(task.judge(placement.own_rows(_predict(parts)(params, batch)), local))
        sums = added(sums, ratios)
    return sums


def predict(parts: Parts, params: Any, batch: Any) -> Any:
    """What the task predicts for a batch of one process, as NumPy arrays."""
    return jax.device_get(_predict(parts)(params, batch))


@functools.lru_cache(maxsize=4)
def _score(parts: Parts) -> Callable:
    def score(params, batch, carry):
        outcome = parts.task.forward(parts.model(parts.placement.gathered(params)), batch, carry, None)
        return {"loss": outcome.loss, **outcome.ratios}, outcome.carry

    return jax.jit(score, out_shardings=(parts.placement.replicated, None))


@functools.lru_cache(maxsize=4)
def _predict(parts: Parts) -> Callable:
    return jax.jit(lambda params, batch: parts.task.predict(parts.model(parts.placement.gathered(params)), batch))


def _first_carry(parts: Parts, params: Any) -> Any:
    def make(params):
        return parts.task.init_carry(parts.model(params), parts.task.config.batch_size)

    return jax.jit(make, out_shardings=parts.placement.carry(jax.eval_shape(make, params)))(params)


def _over_processes(ratios: dict[str, Ratio]) -> dict[str, Ratio]:
    if jax.process_count() == 1 or not ratios:
        return ratios
    return jax.tree.map(lambda leaf: np.sum(leaf, axis=0), multihost_utils.process_allgather(ratios))
