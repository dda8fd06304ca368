"""Volatility: the loss by hand, splits by date, nothing from the future, one's own file, and what is refused."""

import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import volatility as configs
from tests.tasks.examples import tiny_config
from xlstm_jax.data import prices
from xlstm_jax.data.prices import PricesCodec
from xlstm_jax.data.problems.base import Rows
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import added, metrics
from xlstm_jax.tasks.volatility import Volatility, VolatilityConfig
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import predict
from xlstm_jax.train.loop import train
from xlstm_jax.train.step import init_state
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

SMALL = {"sequence_length": 40, "scored": 16, "batch_size": 4}


def days(count: int, seed: int = 0) -> prices.Prices:
    """High, low and close of a random walk."""
    walk = np.cumsum(np.random.default_rng(seed).standard_normal((count, 10)) / 300).reshape(count, 10)
    days_N3 = 50 * np.exp(np.stack([walk.max(axis=1), walk.min(axis=1), walk[:, -1]], axis=1))
    return prices.Prices(np.datetime64("2010-01-01") + np.arange(count), days_N3)


def write(path, series: prices.Prices):
    rows = [
        f"{day},{high:.9g},{low:.9g},{close:.9g}"
        for day, (high, low, close) in zip(series.days_N, series.prices_NP, strict=False)
    ]
    path.write_text("\n".join(["Date,High,Low,Close", *rows]) + "\n")
    return str(path)


@pytest.fixture
def task(tmp_path):
    return Volatility(VolatilityConfig(path=write(tmp_path / "prices.csv", days(300)), **SMALL))


class Table:
    def __init__(self, outputs_BT):
        self.outputs_BT = jnp.asarray(outputs_BT, jnp.float32)

    def unroll(self, inputs, carry=None, *, lengths=None, key=None):
        return self.outputs_BT[..., None], None


def test_losses_by_hand(task):
    """A day without a range counts in one loss alone, and a day that is not scored in none."""
    rng = np.random.default_rng(0)
    log_BT, variances_BTV = rng.standard_normal((2, 3)), rng.exponential(size=(2, 3, 2)).astype(np.float32)
    variances_BTV[0, 1] = 0
    mask_BT = np.array([[False, True, True], [True, True, False]])
    outcome = task.forward(Table(log_BT), Rows(np.zeros((2, 3, 3)), variances_BTV, mask_BT), None, None)
    result = metrics(task, added({}, {"loss": outcome.loss, **outcome.ratios}))
    square_N, range_N = variances_BTV[mask_BT].T.astype(float)
    ratio_N = square_N / np.exp(log_BT[mask_BT])
    ranged_N = (range_N / np.exp(log_BT[mask_BT]))[range_N > 0]
    wanted = {"loss": np.mean(ratio_N + log_BT[mask_BT]), "qlike_range": np.mean(ranged_N - np.log(ranged_N) - 1)}
    assert result == pytest.approx(wanted | {"tokens": 4}, rel=1e-5)


def test_every_day_is_scored_once_from_the_days_before_it(task):
    """Of each split; the target is the next day's, the inputs end the day before."""
    series = task.prices
    features_SF, variances_SV = task.codec.features(series.prices_NP), task.codec.variances(series.prices_NP)
    place = {row.tobytes(): step for step, row in enumerate(features_SF)}
    found = {}
    for split in task.splits:
        scored = []
        for batch in task.batches(split):
            for inputs_TF, targets_TV, mask_T in zip(*batch[:3], strict=True):
                steps_T = np.array([place[row.tobytes()] for row in inputs_TF])
                assert (np.diff(steps_T) == 1).all()
                np.testing.assert_allclose(targets_TV, variances_SV[steps_T + 1], rtol=1e-6)
                scored += steps_T[mask_T].tolist()
        assert scored == [*range(task.parts[split].start, task.parts[split].stop)]
        found[split] = scored
    assert found["validation"][0] == task.parts["train"].stop and found["test"][-1] == len(series.days_N) - 3
    assert task.days_S[task.parts["test"].stop - 1] == series.days_N[-1]


def test_nothing_comes_from_the_future(task, tmp_path):
    """Prices after a day change no input up to it, and those after the training days nothing in training."""
    last = task.parts["train"].stop + 1  # number of the last training day
    series, other = days(300), days(300, seed=1).prices_NP
    changed = np.where(np.arange(300)[:, None] <= last, series.prices_NP, other)
    another = Volatility(VolatilityConfig(path=write(tmp_path / "b.csv", series._replace(prices_NP=changed)), **SMALL))
    assert another.codec.to_json() == task.codec.to_json()
    for mine, theirs in zip(next(iter(task.train_batches(0))), next(iter(another.train_batches(0))), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    mine_SF, theirs_SF = (one.codec.features(one.prices.prices_NP) for one in (task, another))
    np.testing.assert_array_equal(mine_SF[:last], theirs_SF[:last])
    assert not np.isclose(mine_SF[last:], theirs_SF[last:]).all(axis=1).any()


def test_features_are_standardised_on_the_training_days(task):
    train = task.codec.variances(task.prices.prices_NP)[: task.parts["train"].stop + 1]
    np.testing.assert_allclose(train.mean(axis=0), 1, rtol=1e-9)
    features = task.codec.features(task.prices.prices_NP)
    np.testing.assert_allclose(features[:, 0] ** 2, np.exp(features[:, 1]) - 0.01, rtol=1e-3, atol=1e-4)
    assert task.loss_at_chance == pytest.approx(
        task.codec.variances(task.prices.prices_NP)[1:][task.parts["validation"], 0].mean(), rel=1e-5
    )


def test_splits_by_date(tmp_path):
    path = write(tmp_path / "prices.csv", days(300))
    task = Volatility(VolatilityConfig(path=path, last_days="2010-07-01,2010-08-31", **SMALL))
    assert [str(task.days_S[part.stop - 1]) for part in task.parts.values()] == [
        "2010-07-01",
        "2010-08-31",
        "2010-10-27",
    ]
    assert "train to 2010-07-01, validation to 2010-08-31, test to 2010-10-27" in task.summary()


def test_predictions(task, tmp_path):
    """The last days typed, the volatility of the next one: the same as in a whole row; another codec, from JSON."""
    config = tiny_config("volatility", None)
    config.data.update({"path": task.config.path, "market": "sp500", "columns": "High,Low,Close", **SMALL})
    config.model.pattern, config.model.features, config.model.residual = "r", 8, True
    parts = build(config.to_dict())
    params = init_state(parts).params
    again = Volatility(parts.task.config, PricesCodec.from_json(json.loads(json.dumps(parts.task.codec.to_json()))))
    prices_NP = parts.task.prices.prices_NP[100:140]
    (tmp_path / "last").mkdir()
    path = write(tmp_path / "last" / "days.csv", parts.task.prices._replace(prices_NP=prices_NP[:30]))
    np.testing.assert_allclose(again.read(path), again.read(json.dumps(prices_NP[:30].tolist())), atol=1e-4)
    texts = [json.dumps(prices_NP[:30].tolist()), " ".join(map(repr, prices_NP.reshape(-1).tolist()))]
    examples = [again.read(text) for text in texts]
    answers = [
        again.render(row, example)
        for row, example in zip(predict(parts, params, again.collate(examples)), examples, strict=True)
    ]
    whole = jax.jit(lambda params, x: parts.model(params).unroll(x)[0])(params, examples[1][None])[0, :, 0]
    for answer, step in zip(answers, (28, 38), strict=True):
        wanted = parts.task.codec.std * math.exp(float(whole[step]) / 2)
        assert answer["volatility_percent_a_day"] == pytest.approx(wanted, rel=1e-3)
        assert answer["volatility_percent_a_year"] == pytest.approx(wanted * math.sqrt(252), rel=1e-3)


@pytest.mark.slow
def test_garch_learns_the_simulated_garch(tmp_path):
    """Its parameters, within what 3,500 days can tell."""
    config = configs.get_config("garch")
    config.mesh.data, config.data.market, config.data.columns = 1, "simulated", "Close"
    assert train(config, tmp_path / "run") == 0
    parts, params, _ = saved.load(tmp_path / "run")
    _, alpha, beta = (float(value[0]) for value in parts.model(params).coefficients())
    assert alpha == pytest.approx(prices.ALPHA, abs=0.03) and beta == pytest.approx(prices.BETA, abs=0.04)
    result = {name: value for record in read_metrics(tmp_path / "run") for name, value in record.items()}
    assert result["validation/loss"] < parts.task.loss_at_chance - 0.1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"columns": "High,Close"}, r"data\.columns 'High,Close' is not allowed; name the columns of high, low and"),
        ({"columns": "High,Low,Last"}, "has no column 'Last'; it has 'Date, High, Low, Close'"),
        ({"date": "Day"}, "has no column 'Day'"),
        ({"last_days": "2010-07-01"}, r"data\.last_days '2010-07-01' is not allowed; give the last day of training"),
        ({"last_days": "2010-07-01,July"}, r"data\.last_days '2010-07-01,July' is not allowed"),
        ({"last_days": "2010-01-20,2010-08-01"}, "split 'train' has 18 days, and needs at least 40; change data"),
        ({"last_days": "2010-07-20,2019-08-01"}, "split 'test' has 0 days, and needs at least 2"),
        ({"scored": 41}, r"data\.sequence_length 40 is not allowed with data\.scored 41"),
        ({"warm_up": 40}, r"data\.sequence_length 40 is not allowed with .* data\.warm_up 40"),
    ],
)
def test_options_that_cannot_be(tmp_path, changes, message):
    config = {"path": write(tmp_path / "prices.csv", days(300)), **SMALL, **changes}
    with pytest.raises(UsageError, match=message) as caught:
        Volatility(VolatilityConfig(**config))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2 3 4", "give finite numbers"),
        ("2 1 1.5 " * 22, "22 days; give the last 23 days or more, oldest first, each with High, Low, Close"),
        ("2 1 1.5 " * 22 + "2 1 3", "day 23 of the input: the closing price is not between low and high"),
        ("2 1 1.5 " * 22 + "2 -1 1", "day 23 of the input: a price is missing or not positive"),
        ("dear", "is not a list of numbers"),
    ],
)
def test_inputs_that_cannot_be(task, text, message):
    with pytest.raises(UsageError, match=message):
        task.read(text)
    with pytest.raises(UsageError, match="the codec is damaged; kind 'prices' needs"):
        PricesCodec.from_json(task.codec.to_json() | {"std": 0.0})
