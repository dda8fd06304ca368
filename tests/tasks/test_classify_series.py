"""Classification of series: metrics, own files, permutations, stacked steps, patches, what is refused."""

import json
import os
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from configs import classify_series
from tests.mirror import needs_mirror
from tests.tasks.examples import tiny_config
from xlstm_jax.config import from_section
from xlstm_jax.data.series.classes import ts_file
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import added, metrics
from xlstm_jax.tasks.classify_series import Batch, ClassifySeries, ClassifySeriesConfig
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate, predict
from xlstm_jax.train.loop import train
from xlstm_jax.train.step import init_state
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

needs_data = needs_mirror("mnist1d/ and mnist/")
RISING = "-1,0,1"


@pytest.fixture
def folder(tmp_path):
    """Rising and falling series of three steps, with noise."""
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for part, count in (("train", 24), ("validation", 9), ("test", 8)):
        rows = ["label,a,b,c"]
        for number in range(count):
            values = np.array([-1, 0, 1]) * (-1) ** number + 0.1 * rng.standard_normal(3)
            rows.append(",".join([("up", "down")[number % 2], *map(str, values)]))
        (tmp_path / "data" / f"{part}.csv").write_text("\n".join(rows))
    return tmp_path / "data"


def small(path, **changes):
    return ClassifySeries(ClassifySeriesConfig(path=str(path), batch_size=4, **changes))


def test_metrics_by_hand(folder):
    """Rows that only fill up a batch do not count; F1 as scikit-learn has it, averaged over classes."""
    task = small(folder)
    rng = np.random.default_rng(0)
    labels, lengths = rng.integers(0, 2, 16).astype(np.int32), np.array([3] * 14 + [0] * 2, np.int32)
    logits = rng.standard_normal((16, 2)).astype(np.float32)

    class Table:
        def classify(self, series, lengths, key=None):
            assert lengths is None and series.shape[1] == 3
            return jnp.asarray(logits[: len(series)])

    sums = {}
    for part in (slice(0, 16), slice(0, 4)):  # two batches
        batch = Batch(np.zeros((16, 3, 1), np.float32)[part], labels[part], lengths[part])
        outcome = task.forward(Table(), batch, None, None)
        sums = added(sums, {"loss": outcome.loss, **outcome.ratios})
    result = metrics(task, sums)
    rows = np.r_[0:14, 0:4]
    truth, best = labels[rows], logits[rows].argmax(1)
    log_p = np.asarray(jax.nn.log_softmax(logits[rows]))[np.arange(18), truth]
    f1 = [2 * np.sum((truth == a) & (best == a)) / (np.sum(truth == a) + np.sum(best == a)) for a in range(2)]
    wanted = {"loss": -log_p.mean(), "accuracy": (best == truth).mean(), "f1": np.mean(f1), "series": 18}
    assert result == pytest.approx(wanted, rel=1e-6)


def test_series_are_standardised_by_the_training_part(folder):
    task = small(folder)
    values = np.concatenate(task._data.parts["train"].series).astype(np.float64)
    batch = next(iter(task.train_batches(0)))
    rows = {tuple(((one - values.mean()) / values.std())[:, 0].round(4)) for one in task._data.parts["train"].series}
    assert batch.series_BTC.dtype == np.float32 and batch.lengths_B.tolist() == [3] * 4
    assert {tuple(row[:, 0].astype(np.float64).round(4)) for row in batch.series_BTC} <= rows


def test_a_permutation_is_the_same_for_all(folder):
    """Of training and test series, and of what a user gives, in every run."""
    plain, moved = small(folder), small(folder, permuted=True)
    order = moved._order_T
    assert sorted(order) == [0, 1, 2]
    for split in ("validation", "test"):
        for one, other in zip(plain.batches(split), moved.batches(split), strict=True):
            np.testing.assert_array_equal(one.series_BTC[:, order], other.series_BTC)
    again = ClassifySeries(moved.config, moved.codec)
    np.testing.assert_array_equal(again.read(RISING)[:, 0], np.array([-1, 0, 1])[order])


def test_steps_are_stacked_in_order(folder):
    """The model reads all channels of N steps as one; zeros fill the last. Series of different lengths likewise."""
    read = []
    model = SimpleNamespace(classify=lambda *given: read.append(given))
    task = small(folder, stacked=2)
    task._logits(model, Batch(np.arange(1, 7, dtype=np.float32).reshape(2, 3, 1), np.zeros(2, np.int32), None))
    task.codec.steps = 0
    batch = Batch(np.arange(1, 13, dtype=np.float32).reshape(2, 3, 2), np.zeros(2, np.int32), np.array([3, 2]))
    task._logits(model, batch)
    np.testing.assert_array_equal(read[0][0], [[[1, 2], [3, 0]], [[4, 5], [6, 0]]])
    np.testing.assert_array_equal(read[1][0], [[[1, 2, 3, 4], [5, 6, 0, 0]], [[7, 8, 9, 10], [11, 12, 0, 0]]])
    np.testing.assert_array_equal(read[1][1], [2, 1])


def test_a_file_of_ones_own_is_cut_and_learned(folder, tmp_path):
    """One file gives all parts; the best checkpoint is scored once; a line of numbers gets its class."""
    rows = [line for file in folder.iterdir() for line in file.read_text().split("\n")[1:]]
    (tmp_path / "all.csv").write_text("\n".join(["label,a,b,c", *rows]))
    config = tiny_config("classify_series", tmp_path)
    config.data.path, config.data.batch_size, config.data.test = str(tmp_path / "all.csv"), 8, 0.2
    config.model.pattern, config.model.features = "r", 8
    config.optimizer.learning_rate = 3e-2
    assert train(config, tmp_path / "run") == 0
    scored = read_metrics(tmp_path / "run")
    assert [(r["step"], r["test/accuracy"], r["test/series"]) for r in scored if "test/accuracy" in r] == [(20, 1, 8)]
    parts, params, _ = saved.load(tmp_path / "run")
    assert evaluate(parts, params, "test")["f1"] == 1
    task = ClassifySeries(parts.task.config, ClassifySeries.codec_from_json(parts.task.codec.to_json()))
    (tmp_path / "all.csv").unlink()  # predictions need no data
    (tmp_path / "one.csv").write_text("value\n1\n0\n-1\n")
    texts = {RISING: "up", "[-1.1, 0, 1]": "up", "1 0 -1": "down", str(tmp_path / "one.csv"): "down"}
    for text, label in texts.items():
        example = task.read(text)
        answer = task.render(predict(parts, params, task.collate([example]))[0], example)
        assert answer["label"] == label and sum(answer["probabilities"].values()) == pytest.approx(1)


@pytest.mark.parametrize("stacked", [1, 3])
def test_series_of_different_lengths(stacked, tmp_path):
    """Padding changes nothing, whatever it is next to."""
    rng = np.random.default_rng(0)
    lines = ["id,label,x,y"]
    for n in range(12):
        lines += [f"{n},{'ab'[n % 2]},{x},{y}" for x, y in rng.standard_normal((2 + n, 2))]
    (tmp_path / "long.csv").write_text("\n".join(lines))
    config = tiny_config("classify_series", tmp_path).to_dict()
    config["data"] |= {"path": str(tmp_path / "long.csv"), "series": "id", "batch_size": 2, "test": 0.3}
    config["data"]["stacked"] = stacked
    config["model"] |= {"pattern": "r", "features": 8, "directions": "both"}
    parts = build(config)
    task, params = parts.task, init_state(parts).params
    assert task.codec.steps == 0 and task.codec.scaling.names == ("x", "y")
    some = [task.read(json.dumps(rng.standard_normal((steps, 2)).tolist())) for steps in (3, 11, 8)]
    together = predict(parts, params, task.collate(some))
    apart = [predict(parts, params, task.collate([one]))[0] for one in some]
    np.testing.assert_allclose(together, apart, atol=1e-5)
    with pytest.raises(UsageError, match=r"data\.permuted=True is for series of one length"):
        ClassifySeries(ClassifySeriesConfig(**(config["data"] | {"permuted": True})))
    for changes, message in (
        ({"kind": "linear"}, "model.kind 'linear' is for series of one length"),
        ({"patch": 2}, "model.patch 2 is for square images, not for series of different lengths"),
    ):
        with pytest.raises(UsageError, match=message):
            init_state(build(config | {"model": config["model"] | changes}))


def test_patches_of_square_images(tmp_path):
    """A patch is a square of pixels: moving pixels within patches moves nothing between them."""
    rng = np.random.default_rng(0)
    rows = [",".join(["ab"[n % 2], *map(str, rng.standard_normal(16))]) for n in range(12)]
    (tmp_path / "images.csv").write_text("\n".join(rows))
    config = tiny_config("classify_series", tmp_path).to_dict()
    config["data"] |= {"path": str(tmp_path / "images.csv"), "batch_size": 2, "test": 0.3}
    config["model"] |= {"pattern": "r", "features": 8, "patch": 2}
    parts = build(config)
    model = parts.model(init_state(parts).params)
    image_HW = rng.standard_normal((4, 4)).astype(np.float32)
    x_BTD = model.embedding(image_HW.reshape(1, 16, 1))
    patch_PF = np.stack([image_HW[i : i + 2, j : j + 2].ravel() for i in (0, 2) for j in (0, 2)])
    kernel, bias = (np.asarray(getattr(model.embedding.patches.map, name)[...]) for name in ("kernel", "bias"))
    wanted = patch_PF @ kernel + bias
    np.testing.assert_allclose(x_BTD[0], wanted + np.asarray(model.embedding.patches.position[...]), atol=1e-5)
    with pytest.raises(UsageError, match="patch 3 does not divide images of 4 x 4"):
        init_state(build(config | {"model": config["model"] | {"patch": 3}}))


def test_nucleotides_are_typed_as_letters(tmp_path):
    (tmp_path / "dna.csv").write_text("\n".join(["label,seq"] + ["a,ACGT", "b,GGCA"] * 4))
    task = small(tmp_path / "dna.csv", sequence="seq")
    np.testing.assert_array_equal(task.read("ACNT")[:, 0], [1, 0, 0.25, 0])
    with pytest.raises(UsageError, match="the input has 'X' at step 3"):
        task.read("ACXT")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2", "the input has 2 steps; give 3, as all series"),
        ("1 2 x", "is not a list of numbers"),
        ("1 NaN 2", "is not allowed|is not a list"),
        ("2 2 2", "the input is constant, always 2"),
        ("[[1, 2], [3, 4], [5, 6]]", r"shape \[3, 2\] is not allowed"),
        ("", "."),
        ("none.csv", "cannot read 'none.csv'"),
    ],
)
def test_inputs_that_cannot_be(folder, text, message):
    with pytest.raises(UsageError, match=message) as caught:
        small(folder).read(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("part", "rows", "changes", "message"),
    [
        (
            "test",
            "up,1,2,3\nsideways,3,2,1",
            {},
            "class 'sideways' of the part for test is none of the training data's",
        ),
        ("train", "up,1,2,3\ndown,3,2,1", {}, r"data\.batch_size 4 is more than the 2 training examples"),
        ("train", "up,1,,3\ndown,3,2,1", {}, "line 2 lacks a value at step 2"),
        ("train", "up,1,1,1\ndown,2,2,2", {}, "line 2 is constant"),
        ("train", "up,1,2,3", {"label": "kind"}, "has no column 'kind'"),
    ],
)
def test_data_that_cannot_be(folder, part, rows, changes, message):
    (folder / f"{part}.csv").write_text(f"label,a,b,c\n{rows}\n")
    with pytest.raises(UsageError, match=message) as caught:
        small(folder, **changes)
    assert "\n" not in str(caught.value)


def test_a_channel_that_says_nothing(tmp_path):
    rows = [f"{n},{'ab'[n % 2]},{t},7" for n in range(8) for t in range(3)]
    (tmp_path / "long.csv").write_text("\n".join(["id,label,x,fixed", *rows]))
    with pytest.raises(UsageError, match="column 'fixed' is always 7 in the training part; leave it out"):
        small(tmp_path / "long.csv", series="id", test=0.3)


@needs_data
def test_logistic_regression_on_mnist_1d(tmp_path):
    """As its authors found, a linear map tells a third of the digits."""
    config = classify_series.get_config("mnist1d,linear")
    assert from_section(ClassifySeriesConfig, config.data.to_dict(), "data") == ClassifySeriesConfig()
    config.train.steps, config.train.eval_every, config.mesh.data = 400, 400, 1
    assert train(config, tmp_path / "run") == 0
    (last,) = [r["test/accuracy"] for r in read_metrics(tmp_path / "run") if "test/accuracy" in r]
    assert 0.28 < last < 0.38


@needs_data
@pytest.mark.slow
@pytest.mark.parametrize("variant", [name for name in classify_series.VARIANTS if name != "tiny"])
def test_every_variant_starts(variant, tmp_path):
    """Each data set and each model, small: the loss of a batch is finite."""
    if variant in ts_file.SETS and not os.path.exists(f"{os.environ['XLSTM_JAX_DATA_MIRROR']}/{ts_file.ARCHIVE}"):
        pytest.skip(f"{ts_file.ARCHIVE} is not in the mirror")
    data = "mnist," if variant == "vil" else ""
    config = classify_series.get_config(f"{data}{variant},tiny")
    config.mesh.data = 1
    parts = build(config.to_dict())
    batch = next(iter(parts.task.train_batches(0)))
    outcome = jax.jit(lambda p: parts.task.forward(parts.model(p), batch, None, None))(init_state(parts).params)
    assert np.isfinite(float(outcome.loss.total))
