"""Pictures made of digits: what they show is what their sentences say, and the same in every run."""

import numpy as np
import pytest

from tests.mirror import needs_mirror
from xlstm_jax.data.batches import generator
from xlstm_jax.data.pictures import made, own

COUNT = 400


@pytest.fixture(scope="module", params=[False, True], ids=["old", "new"])
def scenes(request):
    return made.scenes(generator(0, 9), COUNT, new=request.param), request.param


def test_sentences_by_hand():
    scene = made.Scenes(
        count_N=np.array([1, 2, 3]),
        large_NK=np.array([[1, 0, 0], [1, 0, 0], [0, 1, 1]]),
        colour_NK=np.array([[0, 0, 0], [1, 2, 0], [3, 4, 0]]),
        digit_NK=np.array([[7, 0, 0], [2, 3, 0], [0, 1, 9]]),
        centre_NK2=np.array([[[0.2, 0.8], [0, 0], [0, 0]], [[0.2, 0.5], [0.8, 0.5], [0, 0]], [[0.2, 0.5]] * 3]),
        down_N=np.array([False, True, False]),
    )
    assert made.sentences(scene) == [
        "a large red seven in the top right",
        "a large green two is above a small blue three",
        "three digits from left to right : a small yellow zero , a large white one and a large red nine",
    ]


def test_places_are_told_apart(scenes):
    """Digits lie inside of the picture, do not overlap, and stand in the order of the sentence."""
    made_scenes, _ = scenes
    assert set(made_scenes.count_N) == {1, 2, 3} and set(made_scenes.down_N) == {False, True}
    for count, large_K, centre_K2, down in zip(
        *(made_scenes.count_N, made_scenes.large_NK, made_scenes.centre_NK2, made_scenes.down_N), strict=True
    ):
        half_K = np.take(made.SHARES, large_K[:count]) / 2
        centre_K2 = centre_K2[:count]
        assert (centre_K2 >= half_K[:, None]).all() and (centre_K2 <= 1 - half_K[:, None]).all()
        apart = np.diff(centre_K2[:, 0 if down else 1])
        assert (apart >= made.APART - 1e-9).all()
        for a in range(count):
            for b in range(a):
                assert (np.abs(centre_K2[a] - centre_K2[b]) >= half_K[a] + half_K[b]).any()
        if count > 1:
            high, wide = np.ptp(centre_K2, axis=0)
            assert (high - wide if down else wide - high) >= made.APART - 1e-9
        else:
            assert (np.abs(centre_K2 - 0.5) >= made.APART).all()


def test_new_combinations_are_kept_apart(scenes):
    made_scenes, new = scenes
    there = np.arange(made.MOST) < made_scenes.count_N[:, None]
    found = [
        {pair for pair, shown in zip(zip(*pairs, strict=True), there_K, strict=True) if shown} & made.NEW
        for *pairs, there_K in zip(made_scenes.colour_NK, made_scenes.digit_NK, there, strict=True)
    ]
    assert all(found) if new else not any(found)
    assert len({digit for _, digit in made.NEW}) == len(made.NEW) == len(made.COLOURS)


def test_a_picture_by_hand():
    """Digits that are full squares: the colour fills the place, scaled to its size, and nothing else."""
    scene = made.Scenes(*(np.array(a) for a in ([1], [[1, 0, 0]], [[1, 0, 0]], [[5, 0, 0]], [[[0.25, 0.75]] * 3], [0])))
    picture = made.drawn(generator(0, 0), scene, np.full((4, 28, 28), 255, np.uint8), np.array([5, 5, 1, 2]), 56)[0]
    assert (picture[4:24, 32:52] == made.COLOURS["green"]).all()
    assert picture.sum() == 20 * 20 * sum(made.COLOURS["green"])


@pytest.mark.parametrize("side", [13, 20, 22, 30])
def test_scaling_averages(side):
    scaled = made._averages(22, side) @ np.arange(22)
    assert scaled.shape == (side,) and (np.diff(scaled) >= 0).all()
    assert scaled.mean() == pytest.approx(10.5, rel=1e-5)
    assert made._averages(4, 2).tolist() == [[0.5, 0.5, 0, 0], [0, 0, 0.5, 0.5]]


@needs_mirror("mnist/")
def test_parts(tmp_path):
    """The same in every run, of different digits; written as files they are read as they were."""
    counts = {"train": 12, "test": 12, "new_combinations": 6}
    parts, again = made.pictures(counts, 40), made.pictures({"test": 12}, 40)
    np.testing.assert_array_equal(parts["test"][0], again["test"][0])
    assert parts["test"][1] == again["test"][1] != parts["train"][1]
    assert {name: pictures.shape for name, (pictures, _) in parts.items()} == {
        name: (count, 40, 40, 3) for name, count in counts.items()
    }
    ranges = {(part, *range(first, last, 10_000)) for part, first, last, _ in made.SOURCES.values()}
    assert len(ranges) == 3  # new_combinations has the digits of the test part
    made.write(tmp_path / "pictures", 12, size=40)
    read = own.read(str(tmp_path / "pictures"))["train"]
    assert [one.captions for one in read] == [[text] for text in parts["test"][1]]
    np.testing.assert_array_equal([own.load(one.path, 40) for one in read], parts["test"][0])
