"""Rules: a model's errors count in two of them, in the data's units, and the values alone in the others."""

from typing import get_args

import numpy as np
import pytest

from xlstm_jax.data.series.anomalies.alarms import onset_scores, state_scores
from xlstm_jax.data.series.anomalies.control_charts import t2_q, windowed_gaussian
from xlstm_jax.data.series.anomalies.monitored import Monitored
from xlstm_jax.data.series.anomalies.rules import Rule, row_scores
from xlstm_jax.data.series.anomalies.streams import View, prepared

RNG = np.random.default_rng(0)
SERIES = Monitored("x", None, RNG.standard_normal((200, 2)).cumsum(0), 80)
STREAM = prepared(SERIES, View(forecast=True, scaling="running", memory=30, seasons="none", held_out=0.25))
OUTPUTS_NC = RNG.standard_normal((200, 2))


@pytest.mark.parametrize("rule", get_args(Rule))
def test_each_rule(rule):
    x_NC, error_NC = SERIES.values_NC, SERIES.values_NC - (STREAM.base_NC + STREAM.scale_NC * OUTPUTS_NC)
    wanted_N = {
        "onsets": lambda: onset_scores(x_NC, error_NC, 80),
        "states": lambda: state_scores(error_NC / STREAM.scale_NC, 60, 80),
        "windowed_gaussian": lambda: np.maximum(*map(windowed_gaussian, x_NC.T)),
        "t2_q": lambda: t2_q(x_NC, 80),
    }[rule]()
    np.testing.assert_allclose(row_scores(rule, SERIES, STREAM, OUTPUTS_NC), wanted_N, rtol=1e-9, atol=1e-12)
    unmoved = np.array_equal(row_scores(rule, SERIES, STREAM, -OUTPUTS_NC), wanted_N)
    assert unmoved == (rule in ("windowed_gaussian", "t2_q"))
