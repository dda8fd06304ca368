"""Free runs of a model of a chaotic series: one against the truth, and how the error grows over all of them."""

from typing import Any

import jax
import numpy as np

from experiments.sweeping.measured import MEASURES, Curve, Measured
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.chaos import Chaos
from xlstm_jax.tasks.free_run_scores import VALID
from xlstm_jax.train.build import Parts

BATCHES = 4  # of the split "free"


@MEASURES.register("free_run")
def free_run(parts: Parts, params: Any) -> Measured:
    """The first variable of a free run and of the truth, in its own units.

    Of the runs of one batch, it is the one whose error exceeds 0.4 standard deviations at the median step.
    """
    ((run_BKD, future_BKD),) = _runs(parts, params, 1)
    wrong_BK = np.mean((run_BKD - future_BKD) ** 2, axis=-1) > VALID**2
    valid_B = np.where(wrong_BK.any(axis=1), wrong_BK.argmax(axis=1), wrong_BK.shape[1])
    median = np.argsort(valid_B, kind="stable")[len(valid_B) // 2]
    scaling = parts.task.codec.scaling
    steps = [*range(1, wrong_BK.shape[1] + 1)]
    curves = [
        Curve(name, steps, scaling.restored(rows_BKD[median])[:, 0].tolist())
        for name, rows_BKD in (("truth", future_BKD), ("free run", run_BKD))
    ]
    return Measured("step of the free run", scaling.names[0], curves)


@MEASURES.register("error_growth")
def error_growth(parts: Parts, params: Any) -> Measured:
    """The root mean square error over all runs after each step, in standard deviations of the series."""
    squares = [np.mean((run_BKD - future_BKD) ** 2, axis=-1) for run_BKD, future_BKD in _runs(parts, params, BATCHES)]
    error_K = np.sqrt(np.mean(np.concatenate(squares, dtype=np.float64), axis=0))
    curve = Curve("free runs", [*range(1, len(error_K) + 1)], error_K.tolist())
    return Measured("step of the free run", "error, standard deviations", [curve], log=("y",))


def _runs(parts: Parts, params: Any, batches: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """The model's continuations and the true ones, both [B, K, D], standardised."""
    task = parts.task
    if not isinstance(task, Chaos):
        raise UsageError("free_run and error_growth are for runs of configs/chaos.py")
    run = jax.jit(lambda params, prefix_BPD: task.free_run(parts.model(params), prefix_BPD, task.config.free_steps))
    rows = [batch for batch, _ in zip(task.batches("free"), range(batches), strict=False)]
    return [(np.asarray(run(params, row.prefix_BPD)), row.future_BKD) for row in rows]
