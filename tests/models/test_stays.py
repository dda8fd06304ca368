"""Classifiers of irregular series: statistics by hand, what is read, what passes, and what is refused."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.recurrent import RecurrentBlockConfig
from xlstm_jax.models.stays import StatisticsClassifier, StayClassifier, StayClassifierConfig, statistics

F, T = 3, 6
LENGTHS = np.array([6, 4, 0], np.int32)
PLAIN = StayClassifierConfig(features=4, pattern="r", pooling="last", final_norm=False)


def inputs(seed=0):
    rng = np.random.default_rng(seed)
    x_BTF, m_BTF = rng.standard_normal((3, T, F)), rng.random((3, T, F)) < 0.5
    m_BTF[:, :, 2] = False
    return np.concatenate([x_BTF, m_BTF, rng.random((3, T, F))], axis=-1).astype(np.float32)


classified = nnx.jit(lambda model, *args: model.classify(*args))


def made(config, kind=StayClassifier):
    return kind(config, F, rngs=nnx.Rngs(0))


def test_statistics_by_hand():
    """Of each variable so far, at each step."""
    x_BTD = inputs()
    got_BTSF = np.asarray(statistics(jnp.asarray(x_BTD))).reshape(3, T, 5, F)
    for row, step, f in np.ndindex(3, T, F):
        x_T, m_T = x_BTD[row, : step + 1, f], x_BTD[row, : step + 1, F + f] > 0
        there_T = x_T[m_T]
        rest = [there_T.mean(), there_T.min(), there_T.max()] if len(there_T) else [0, 0, 0]
        wanted_S = [x_T[-1], *rest, np.log1p(len(there_T))]
        np.testing.assert_allclose(got_BTSF[row, step, :, f], wanted_S, rtol=1e-5, atol=1e-6)


def test_regression_reads_the_last_step():
    model, x_BTD = made(PLAIN, StatisticsClassifier), inputs()
    model.head.kernel[...] = jnp.asarray(np.random.default_rng(0).standard_normal(model.head.kernel.shape), jnp.float32)
    other_BTD = np.where(np.arange(T)[:, None] < LENGTHS[:, None, None], x_BTD, 1e3)
    logit_B = classified(model, other_BTD, LENGTHS)[:, 0]
    for row in (0, 1):
        last_S = np.asarray(statistics(jnp.asarray(x_BTD)))[row, LENGTHS[row] - 1]
        np.testing.assert_allclose(logit_B[row], last_S @ np.asarray(model.head.kernel[...])[:, 0], rtol=1e-4)


@pytest.mark.parametrize(("cell", "reads"), [("lstm", "history"), ("grud", "all")])
def test_the_logit_is_that_of_the_last_step(cell, reads):
    """Padding has no effect, and each step's logit is that of the series which ends there."""
    config = dataclasses.replace(PLAIN, reads=reads, blocks=(RecurrentBlockConfig(cell=cell),))
    if cell == "grud":
        config = dataclasses.replace(config, features=3 * F, mapped=False)
    model, x_BTD = made(config), inputs()
    whole_BT = nnx.jit(lambda model, *args: model.at_each_step(*args))(model, x_BTD, LENGTHS)
    for length in (1, 4):
        cut_B = np.minimum(LENGTHS, length)
        other_BTD = np.where(np.arange(T)[:, None] < length, x_BTD, 1e3)
        logit_B = classified(model, other_BTD, cut_B)[:, 0]
        np.testing.assert_allclose(logit_B[:2], whole_BT[:2, length - 1], rtol=1e-5)
    np.testing.assert_allclose(classified(model, x_BTD, LENGTHS)[:2, 0], [whole_BT[0, 5], whole_BT[1, 3]], rtol=1e-5)


def test_means_for_missing_values():
    """The model that reads values sees 0, their mean, where none was measured, and neither mask nor gap."""
    model, x_BTD = made(dataclasses.replace(PLAIN, reads="values")), inputs()
    other_BTD = x_BTD.copy()
    other_BTD[..., :F] = np.where(x_BTD[..., F : 2 * F] > 0, x_BTD[..., :F], 7)
    other_BTD[..., 2 * F :] = 9
    np.testing.assert_array_equal(classified(model, x_BTD, LENGTHS), classified(model, other_BTD, LENGTHS))
    assert model.embedding.kernel.shape == (F, 4)


def test_dropout_needs_a_key():
    config = dataclasses.replace(PLAIN, input_dropout=0.5, head_dropout=0.5)
    for kind in (StayClassifier, StatisticsClassifier):
        model, x_BTD = made(config, kind), inputs()
        plain = classified(model, x_BTD, LENGTHS)
        np.testing.assert_array_equal(plain, classified(model, x_BTD, LENGTHS))
        assert (plain[:2] != classified(model, x_BTD, LENGTHS, jax.random.key(0))[:2]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mapped": False}, r"model.features 4 is not allowed with model.mapped=False; must be 9, the numbers that a"),
        ({"replication": 0.5, "pooling": "mean"}, r"model.replication 0.5 needs model.pooling='last' and"),
        ({"replication": 0.5, "directions": "both"}, r"model.replication 0.5 needs model.pooling='last' and"),
    ],
)
def test_models_that_cannot_be(changes, message):
    with pytest.raises(UsageError, match=message):
        made(dataclasses.replace(PLAIN, **changes))
