"""Stays as rows: the mean of each step, last values, masks and gaps by hand; the codec."""

import json

import numpy as np
import pytest

from xlstm_jax.data.series.scaling import Scaling
from xlstm_jax.data.series.stays.codec import VARIABLES, StayCodec, binned
from xlstm_jax.data.series.stays.records import parse_record
from xlstm_jax.errors import UsageError

TEXT = """Time,Parameter,Value
00:00,ICUType,3
00:00,Weight,80
00:07,HR,70
03:59,HR,74
08:00,HR,90
08:01,Urine,0
48:00,HR,60
48:01,HR,200"""
HR, WEIGHT, URINE = (VARIABLES.index(name) for name in ("HR", "Weight", "Urine"))


def test_steps_by_hand():
    values_TF = binned(parse_record(TEXT), hours=4)
    assert values_TF.shape == (12, 44)
    hr_T = values_TF[:, HR]
    assert hr_T[[0, 2, 11]].tolist() == [72, 90, 60] and np.isnan(hr_T[[1, 3, 4, 10]]).all()
    assert values_TF[0, WEIGHT] == pytest.approx(np.log(81)) and values_TF[2, URINE] == 0
    icu = [VARIABLES.index(f"ICUType={kind}") for kind in (1, 2, 3, 4)]
    assert values_TF[0, icu].tolist() == [0, 0, 1, 0] and np.isnan(values_TF[1, icu]).all()
    assert binned(parse_record(TEXT), hours=48).shape == (1, 44)
    assert binned(parse_record(TEXT), hours=5).shape == (10, 44)


def scaled(mean=0.0, std=1.0):
    ones = np.ones(len(VARIABLES))
    return StayCodec(4.0, Scaling(VARIABLES, mean * ones, std * ones), 0.14)


def test_inputs_by_hand():
    """The gap is counted from the last step before this one in which the variable was measured, or from admission."""
    inputs_TD = scaled(mean=70.0, std=10.0).encode(binned(parse_record(TEXT), 4))
    x_TF, m_TF, d_TF = np.split(inputs_TD, 3, axis=-1)
    assert inputs_TD.dtype == np.float32
    np.testing.assert_allclose(x_TF[:, HR], [0.2, 0.2, *[2] * 9, -1], rtol=1e-6)
    assert m_TF[:, HR].tolist() == [1, 0, 1, *[0] * 8, 1]
    np.testing.assert_allclose(d_TF[:, HR] * 6, [0, 1, 2, *range(1, 10)], rtol=1e-6)
    np.testing.assert_allclose(d_TF[:, URINE] * 6, [0, 1, 2, *range(1, 10)], rtol=1e-6)
    np.testing.assert_allclose(x_TF[:, URINE], [0, 0, *[-5] * 10])  # no farther than 5 from the mean
    never = VARIABLES.index("Lactate")
    assert not x_TF[:, never].any() and not m_TF[:, never].any()
    np.testing.assert_allclose(d_TF[:, never] * 6, range(12), rtol=1e-6)


def test_later_measurements_change_no_earlier_input():
    first, codec = TEXT.split("\n08:00")[0], scaled()
    whole, cut = (codec.encode(binned(parse_record(text), 4)) for text in (TEXT, first))
    np.testing.assert_array_equal(whole[:2], cut[:2])
    assert (whole[2:] != cut[2:]).any(axis=1).all()


def random_values(count, rng, share=0.3):
    values_NTF = rng.normal(50, 20, (count, 12, len(VARIABLES)))
    values_NTF[rng.random(values_NTF.shape) > share] = np.nan
    return values_NTF


def test_the_codec_is_that_of_the_training_stays():
    """A constant variable is 1 where it is measured; a record that is written is read again."""
    values_NTF = random_values(30, np.random.default_rng(0))
    constant, missing = VARIABLES.index("MechVent"), VARIABLES.index("Cholesterol")
    values_NTF[..., constant] = np.where(np.isnan(values_NTF[..., constant]), np.nan, 30)
    values_NTF[..., missing] = np.nan
    codec = StayCodec.of(4.0, values_NTF, np.arange(30) % 2)
    x_NTF, m_NTF, _ = np.split(codec.encode(values_NTF), 3, axis=-1)
    known = m_NTF > 0
    assert (x_NTF[..., constant][known[..., constant]] == 1).all() and not x_NTF[..., missing].any()
    assert x_NTF[..., HR][known[..., HR]].mean() == pytest.approx(0, abs=1e-6)
    assert x_NTF[..., HR][known[..., HR]].std() == pytest.approx(1, abs=1e-6)
    again = StayCodec.from_json(json.loads(json.dumps(codec.to_json())))
    np.testing.assert_array_equal(again.encode(values_NTF), codec.encode(values_NTF))
    assert codec.deaths == 0.5
    inputs_TD = codec.encode(binned(parse_record(TEXT), 4))
    written = parse_record(codec.decode(inputs_TD))
    np.testing.assert_allclose(codec.encode(binned(written, 4)), inputs_TD, atol=1e-5)


def test_codecs_that_cannot_be():
    with pytest.raises(UsageError, match="every variable is constant or missing in the training stays; give stays"):
        StayCodec.of(4.0, np.ones((3, 2, len(VARIABLES))), np.zeros(3))
    good = scaled().to_json()
    for change in ({"kind": "x"}, {"hours": 0.0}, {"hours": None}, {"deaths": "x"}, {"scaling": {}}):
        with pytest.raises(UsageError, match="the codec is damaged"):
            StayCodec.from_json(good | change)
