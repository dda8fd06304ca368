"""Counts the parameters, from shapes only, in sweeps that claim to compare models of one size."""

import dataclasses

import jax
import pytest
from flax import nnx

from experiments.sweeping.runner import load
from tests.experiments.test_sweep import FOLDER, config_of
from xlstm_jax.config import from_section
from xlstm_jax.models import ModelConfig, build_model

CHARACTERS = 65


def parameters(run) -> int:
    config = config_of(run)
    config.update_from_flattened_dict(run.overrides)
    model = from_section(ModelConfig, config.model.to_dict(), "model")
    model = dataclasses.replace(model, vocab_size=CHARACTERS)
    shapes = nnx.to_pure_dict(nnx.split(nnx.eval_shape(lambda: build_model(model)))[1])
    return sum(leaf.size for leaf in jax.tree.leaves(shapes))


@pytest.mark.parametrize(
    ("name", "labels", "size", "limit"),
    [
        ("families", {}, 985_000, 0.04),
        ("shakespeare", {"equal": "parameters"}, 985_000, 0.02),
        pytest.param("xlstm_ablation", {}, 895_000, 0.07, marks=pytest.mark.slow),
    ],
)
def test_points_of_one_size(name, labels, size, limit):
    runs = [run for run in load(str(FOLDER / f"{name}.py")).runs() if labels.items() <= run.point.labels.items()]
    runs = [run for run in runs if run.seed == 0]
    assert len(runs) > 5
    for run in runs:
        assert abs(parameters(run) / size - 1) <= limit, (run.name, parameters(run))


def test_points_of_one_width():
    runs = [run for run in load(f"{FOLDER}/shakespeare.py:tiny").runs() if run.point.labels["equal"] == "width"]
    assert len(runs) == 7
    assert {(run.overrides["model.features"], len(run.overrides["model.pattern"])) for run in runs} == {(256, 2)}
