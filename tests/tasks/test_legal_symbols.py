"""When a prediction of a legal symbol counts as right, and what the metrics make of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from xlstm_jax.data.problems.legal_symbols import LegalRows, next_symbols
from xlstm_jax.tasks import TASKS
from xlstm_jax.tasks.base import added, metrics

SIZE = 8


def example(strings, length):
    """Legal are the symbol that came and, upon every other step, symbol 3."""
    legal = [np.arange(SIZE) == string[1:, None] for string in strings]
    for legal_TA in legal:
        legal_TA[::2, 3] = True
    return next_symbols(strings, legal, length, SIZE)


@pytest.fixture(scope="module")
def case():
    strings = [np.array(string) for string in ([1, 2, 4, 5], [1, 3, 3], [2, 6, 7, 1, 5])]
    batch = example(strings, 5)
    logits_BTA = np.random.default_rng(0).normal(size=(3, 5, SIZE)).astype(np.float32)
    logits_BTA[0] += 4 * batch.legal_BTA[0]  # the first row is right
    logits_BTA[1, 0] += 4 * batch.legal_BTA[1, 0]
    logits_BTA[2, 3, 5] = logits_BTA[2, 3].max() + 1  # the last step, of the third row
    return batch, logits_BTA


def ratios(task, logits_BTA, batch):
    outcome = task.scored(jnp.asarray(logits_BTA), batch, None)
    return added({}, {"loss": outcome.loss, **outcome.ratios})


def reber(target):
    task = TASKS.get("embedded_reber")
    return task(task.Config(target=target, long_length=0))


@pytest.mark.parametrize("target", ["symbol", "legal"])
def test_metrics_follow_the_rule(case, target):
    batch, logits_BTA = case
    task = reber(target)
    nats = right = steps = 0
    wholly, last_but_one = [], []
    log_p = np.asarray(jax.nn.log_softmax(logits_BTA))
    for row in range(3):
        rights = []
        for step in range(batch.mask_BT[row].sum()):
            legal = batch.legal_BTA[row, step]
            rights.append(
                all(
                    logits_BTA[row, step, a] > logits_BTA[row, step, b]
                    for a in range(SIZE)
                    if legal[a]
                    for b in range(SIZE)
                    if not legal[b]
                )
            )
            nats -= (
                np.mean(log_p[row, step, legal]) if target == "legal" else log_p[row, step, batch.targets_BT[row, step]]
            )
        right, steps = right + sum(rights), steps + len(rights)
        wholly.append(all(rights))
        last_but_one.append(rights[-2])
    assert wholly[0] and not all(wholly) and 0 < right < steps
    result = metrics(task, ratios(task, logits_BTA, batch))
    wanted = {
        "loss": nats / steps,
        "accuracy": right / steps,
        "solved": np.mean(wholly),
        "tokens": steps,
        "long_accuracy": np.mean(last_but_one),
    }
    assert result == pytest.approx(wanted, rel=1e-5)


def test_padding_rows_count_for_nothing(case):
    batch, logits_BTA = case
    task = reber("legal")
    filled = LegalRows(*(np.concatenate([array, array[:2]]) for array in batch))
    filled.mask_BT[3:] = False
    two = [
        ratios(task, logits, b)
        for logits, b in ((logits_BTA, batch), (np.concatenate([logits_BTA, logits_BTA[:2]]), filled))
    ]
    for name in two[0]:
        np.testing.assert_allclose(np.array(two[0][name]), np.array(two[1][name]), rtol=1e-6, err_msg=name)


def test_the_largest_n_ends_at_the_first_failure():
    """In a model that knows the strings up to n = 13 and n = 15."""
    task = TASKS.get("counting")
    task = task(task.Config(language="anbncn", longest=10, longest_tested=20, batch_size=8))
    results = {}
    for split in task.splits:
        sums = {}
        for batch in task.batches(split, carry=False):
            n_B = np.sum(batch.inputs_BT == 3, axis=1)
            known_B = (n_B <= 13) | (n_B == 15)
            logits_BTA = jnp.asarray(np.where(batch.legal_BTA == known_B[:, None, None], 1.0, 0.0), jnp.float32)
            sums = added(sums, ratios(task, logits_BTA, batch))
        results[split] = metrics(task, sums)
    assert results["validation"]["largest_n"] == 10 and results["validation"]["solved"] == 1
    assert results["long"]["largest_n"] == 13 and results["long"]["solved"] == pytest.approx(0.4)
    assert results["validation"]["tokens"] == sum(3 * n + 1 for n in range(1, 11))
    assert results["long"]["tokens"] == sum(3 * n + 1 for n in range(11, 21))


def test_a_loss_over_legal_symbols_is_least_where_they_are_equal(case):
    batch, _ = case
    task = reber("legal")
    best_BTA = jnp.where(jnp.asarray(batch.legal_BTA), 0.0, -30.0)
    legal_BT = batch.legal_BTA.sum(axis=-1)
    nats_BT = np.asarray(task.cost(best_BTA, batch))[batch.mask_BT]
    np.testing.assert_allclose(nats_BT, np.log(legal_BT[batch.mask_BT]), atol=1e-5)
    came = optax.softmax_cross_entropy_with_integer_labels(best_BTA, batch.targets_BT)
    np.testing.assert_array_equal(reber("symbol").cost(best_BTA, batch), came)
