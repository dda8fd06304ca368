"""How the rows of a series are scored: from a model's errors, or from the values alone."""

from typing import Literal

import numpy as np

from xlstm_jax.data.series.anomalies.alarms import onset_scores, state_scores
from xlstm_jax.data.series.anomalies.control_charts import t2_q, windowed_gaussian
from xlstm_jax.data.series.anomalies.monitored import Monitored
from xlstm_jax.data.series.anomalies.streams import Stream

Rule = Literal["onsets", "states", "windowed_gaussian", "t2_q"]


def row_scores(rule: Rule, series: Monitored, stream: Stream, outputs_NC: np.ndarray) -> np.ndarray:
    """The score of each row, float64.

    Args:
        rule: "onsets" and "states" are of a model's errors (`alarms`), the others of the values (`control_charts`).
        series: as it was read.
        stream: the same, as the model reads it.
        outputs_NC: the model's.
    """
    if rule == "t2_q":
        return t2_q(series.values_NC, series.calibration)
    if rule == "windowed_gaussian":
        return np.max([windowed_gaussian(value_N) for value_N in series.values_NC.T], axis=0)
    residuals_NC = series.values_NC - stream.base_NC - stream.scale_NC * outputs_NC
    if rule == "onsets":
        return onset_scores(series.values_NC, residuals_NC, series.calibration)
    return state_scores(residuals_NC / stream.scale_NC, stream.train, stream.calibration)
