"""Loss by position: which windows are taken, which bins, and that the state passes through a whole window."""

import math

import jax
import numpy as np
import pytest

from experiments.programs.loss_by_position import Windows, bin_edges, choose_windows, loss_by_position
from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.errors import UsageError
from xlstm_jax.train.build import build
from xlstm_jax.train.step import init_state


@pytest.mark.parametrize(
    ("targets", "wanted"),
    [
        (1000, Windows(6, 16, 160)),
        (320, Windows(2, 16, 160)),
        (319, Windows(3, 8, 80)),
        (40, Windows(2, 2, 20)),
        (19, Windows(1, 1, 10)),
        (10, Windows(1, 1, 10)),
    ],
)
def test_windows(targets, wanted):
    assert choose_windows(targets, 10) == wanted


def test_not_even_one_window():
    with pytest.raises(UsageError, match="split has 9 targets, but one window of the training length needs 10; use"):
        choose_windows(9, 10)


@pytest.mark.parametrize("length", [1, 3, 32, 100])
@pytest.mark.parametrize("multiple", [1, 4, 16])
def test_bins_cover_every_position_once(length, multiple):
    edges = bin_edges(length, multiple)
    assert edges[0] == 0 and edges[-1] == length * multiple and (np.diff(edges) > 0).all()
    assert {length * 2**n for n in range(int(math.log2(multiple)) + 1)} <= set(edges)


@pytest.fixture(scope="module", params=[800, 60], ids=["long", "short"])
def made(request, tmp_path_factory):
    config = tiny_config("language_model", write_text(tmp_path_factory.mktemp("text") / "text.txt", request.param))
    config.data.sequence_length, config.data.batch_size, config.model.pattern = 4, 3, "r"
    run = build(config.to_dict())
    with jax.numpy_dtype_promotion("standard"):
        return run, jax.tree.map(lambda leaf: 3 * leaf, init_state(run).params)


def test_equals_each_window_read_at_once(made):
    """Means and standard errors from plain `unroll` of every window, one after the other, in float64."""
    run, params = made
    windows, bins = loss_by_position(run, params, "validation")
    tokens = np.asarray(run.task.splits["validation"]).astype(np.int32)
    assert windows == choose_windows(len(tokens) - 1, 4) and windows.count > 1
    nats_WT = []
    for window in range(windows.count):
        start = window * windows.length
        inputs, targets = (tokens[start + n : start + n + windows.length] for n in (0, 1))
        logits = np.asarray(run.model(params).unroll(inputs[None])[0][0], np.float64)
        log_sum = np.log(np.exp(logits).sum(axis=-1))
        nats_WT.append(log_sum - logits[np.arange(windows.length), targets])
    assert [one.first for one in bins] == [1] + [one.last + 1 for one in bins[:-1]]
    assert bins[-1].last == windows.length
    for one in bins:
        means = np.array(nats_WT)[:, one.first - 1 : one.last].mean(axis=1)
        assert one.nats == pytest.approx(means.mean(), rel=1e-5)
        assert one.standard_error == pytest.approx(means.std(ddof=1) / math.sqrt(len(means)), rel=1e-3)


def test_unknown_split(made):
    with pytest.raises(UsageError, match="split 'test' is unknown; allowed: train, validation"):
        loss_by_position(*made, "test")
