"""Calibration: whether what is predicted with a probability comes true as often."""

from typing import Any

from experiments.sweeping.measured import MEASURES, Curve, Measured
from xlstm_jax.train.build import Parts
from xlstm_jax.train.evaluate import sums_over


@MEASURES.register("calibration")
def calibration(parts: Parts, params: Any) -> Measured:
    """Observed frequencies over predicted probabilities, on the split that the best checkpoint is scored on.

    For forecasts of quantiles these are the share of values up to each quantile, and its level; for the risk of
    something, the share of cases in which it happened, and the mean risk, in groups of similar risk. Each curve of a
    calibrated model is the diagonal.
    """
    task = parts.task
    split = next(iter(task.held_out), "validation")
    found = task.calibration(sums_over(parts, params, split))
    curves = [Curve(name, [*map(float, x)], [*map(float, y)]) for name, (x, y) in found.items()]
    most = max(max(max(curve.x), max(curve.y)) for curve in curves)
    curves.append(Curve("calibrated", [0, most], [0, most]))
    return Measured("predicted probability", f"frequency in the split {split!r}", curves)
