"""The bank of synthetic series: what draws them, and its file."""

import numpy as np
import pytest

from xlstm_jax.data.batches import generator
from xlstm_jax.data.series.synthetic import bank as module
from xlstm_jax.data.series.synthetic.bank import KINDS, LARGEST, bank, draw
from xlstm_jax.data.series.synthetic.seasons import PERIODS, SHARES, draw_period, drifting, fixed, profile


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_kinds(kind):
    """Each draws finite series of the length asked for, that are not all the same and follow the generator."""
    drawn = [kind(generator(0, number), 200) for number in range(20)]
    assert all(values.shape == (200,) and np.isfinite(values).all() for values in drawn)
    assert not np.array_equal(drawn[0], drawn[1])
    np.testing.assert_array_equal(drawn[0], kind(generator(0, 0), 200))


def test_shares_add_up():
    assert sum(KINDS.values()) == pytest.approx(1)
    assert {*SHARES} <= {*PERIODS}


def test_series_are_standardised():
    for number in range(100):
        values = draw(generator(1, number), 128)
        assert values.dtype == np.float32 and np.abs(values).max() <= LARGEST
        if np.abs(values).max() < LARGEST:
            assert abs(values.mean()) < 1e-4 and values.std() == pytest.approx(1, abs=1e-3)


def test_a_series_follows_its_number(monkeypatch, tmp_path):
    """Whatever the size of the bank; the file is used again, and made anew if it is damaged."""
    monkeypatch.setenv("XLSTM_JAX_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "FEW", 0)
    drawn = bank(6, 64, 3)
    assert drawn.shape == (6, 64)
    np.testing.assert_array_equal(drawn[:4], bank(4, 64, 3))
    np.testing.assert_array_equal(drawn[2], draw(generator(3, 2), 64))
    files = sorted((tmp_path / "synthetic").iterdir())
    assert len(files) == 2
    monkeypatch.setattr(module, "_drawn", None)  # nothing is drawn again
    np.testing.assert_array_equal(bank(6, 64, 3), drawn)
    kept = np.array(drawn)
    del drawn
    monkeypatch.undo()
    monkeypatch.setenv("XLSTM_JAX_CACHE", str(tmp_path))
    monkeypatch.setattr(module, "FEW", 0)
    for file in files:
        file.write_bytes(file.read_bytes()[:100])
    np.testing.assert_array_equal(bank(6, 64, 3), kept)
    assert not np.array_equal(bank(6, 64, 4), kept)


def test_a_cache_that_cannot_be_written(monkeypatch, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XLSTM_JAX_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr(module, "FEW", 0)
    assert bank(3, 64, 0).shape == (3, 64)
    assert "cannot save synthetic series" in capsys.readouterr().err


def test_seasons_return():
    """A fixed season is the same in each cycle but for the season of seasons; a profile has mean 0 and variance 1."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        shape = profile(rng, 24)
        assert abs(shape.mean()) < 1e-9 and shape.std() == pytest.approx(1, abs=1e-3)
        values = fixed(rng, 5, 100)  # no season of seasons
        np.testing.assert_allclose(values[5:], values[:-5])
        assert drifting(rng, 24, 100).shape == (100,)
        assert 4 <= draw_period(rng, 50) <= 50
