"""Every config file and every variant: read, parsed into dataclasses, and built as far as shapes go."""

import dataclasses
import importlib
import pathlib
import re

import pytest
from flax import nnx

from configs import base
from xlstm_jax.cells import CELLS
from xlstm_jax.config import from_section
from xlstm_jax.errors import UsageError
from xlstm_jax.models import ModelConfig, build_model
from xlstm_jax.tasks import TASKS
from xlstm_jax.tasks.language_model import DataConfig
from xlstm_jax.train import run
from xlstm_jax.train.optimizer import make_optimizer

FILES = sorted(path.stem for path in pathlib.Path(base.__file__).parent.glob("[!_]*.py"))
CONFIGS = [
    (name, variant)
    for name in FILES
    for variant in (None, *getattr(importlib.import_module(f"configs.{name}"), "VARIANTS", ()))
]
PARSED = {"data": DataConfig, **run.PARSED}


def get(name, variant=None):
    get_config = importlib.import_module(f"configs.{name}").get_config
    return get_config() if variant is None else get_config(variant)


def flat(tree, prefix=""):
    for key, value in tree.items():
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]


def test_there_are_configs():
    assert {"base", "quickstart", "char_lm"} <= set(FILES)
    assert ("char_lm", "tiny") in CONFIGS


@pytest.mark.parametrize("name, variant", CONFIGS)
def test_config_builds(name, variant):
    """All but the data: sections parse, the model's sizes fit, the optimizer's options go together."""
    config = get(name, variant).to_dict()
    assert set(config) == set(run.SECTIONS)
    sections = {key: from_section(parsed, config[key], key) for key, parsed in PARSED.items() if key != "data"}
    data = from_section(TASKS.get(config["task"]).Config, config["data"], "data")
    assert data.sequence_length >= 1
    make_optimizer(sections["optimizer"], sections["train"].steps)
    assert sections["train"].eval_every <= sections["train"].steps
    model = nnx.eval_shape(lambda: build_model(dataclasses.replace(sections["model"], vocab_size=65)))
    assert len(model.blocks) == len(config["model"]["pattern"])


@pytest.mark.parametrize("name, variant", CONFIGS)
def test_config_keeps_the_keys_and_types_of_base(name, variant):
    """So that every knob stands in base.py, and an override on the command line has the right type."""
    config, wanted = (dict(flat(tree.to_dict())) for tree in (get(name, variant), base.get_config()))
    data = {key for key in config.keys() ^ wanted.keys() if key.startswith("data.")}
    assert config.keys() - data == wanted.keys() - data
    if config["task"] == wanted["task"]:
        assert not data
    for key in config.keys() & wanted.keys():
        assert type(config[key]) is type(wanted[key]), key


@pytest.mark.parametrize("section", PARSED)
def test_base_is_the_dataclass_defaults(section):
    """Defaults stand in two places, for people and for code: they must not drift apart."""
    defaults = dataclasses.asdict(PARSED[section]())
    if section == "model":
        del defaults["vocab_size"], defaults["input_features"]  # the data's
    assert base.get_config()[section].to_dict() == defaults


def test_every_knob_in_base_is_explained():
    """A comment on every line that sets a knob, except where the one name says it."""
    source = pathlib.Path(base.__file__).read_text(encoding="utf-8")
    plain = {"num_heads", "steps", "temperature"}
    for line in source.splitlines():
        knob = re.match(r"\s+config\.([\w.]+) = (?!ConfigDict)", line)
        assert not knob or "#" in line or knob[1].split(".")[-1] in plain, line


@pytest.mark.parametrize("name", [name for name in FILES if name != "base"])
def test_docstring_opens_with_the_command(name):
    doc = importlib.import_module(f"configs.{name}").__doc__
    command = re.search(r"python -m experiments\.train --config=configs/(\w+)\.py(?::(\w+))? --workdir=\S+", doc)
    assert command and command[1] == name
    get(name, command[2])


def test_unknown_variant_lists_the_known():
    with pytest.raises(UsageError, match=r"variant 'ltsm' is unknown; allowed: .*lstm, gru"):
        get("char_lm", "ltsm")


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        ("train", {"step": 3}, r"config key train\.step is unknown; train has: accumulate, eval_every, keep, .*steps"),
        ("model", {"mlstm": {"heads": 2}}, r"config key model\.mlstm\.heads is unknown; model\.mlstm has: .*num_heads"),
        ("model", {"dtype": "float16"}, r"model\.dtype 'float16' is not allowed; .* 'float32', 'bfloat16'"),
        ("model", {"slstm": {"input_gate": "tanh"}}, r"model\.slstm\.input_gate 'tanh' .* 'exp', 'sigmoid'"),
        ("optimizer", {"name": "lion"}, r"optimizer\.name 'lion' .* 'adamw', 'adam', 'rmsprop', 'sgd'"),
        ("data", {"sampling": "shuffle"}, r"data\.sampling 'shuffle' .* 'windows', 'stream'"),
        ("train", {"steps": 0}, r"train\.steps 0 is not allowed; it is at least 1"),
    ],
)
def test_errors_list_what_is_allowed(section, values, message):
    with pytest.raises(UsageError, match=message) as caught:
        from_section(PARSED[section], values, section)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named():
    with pytest.raises(UsageError, match=r"config key convlstm\.spatial_shape is missing; convlstm needs it"):
        from_section(CELLS.get("convlstm").Config, {"in_features": 3, "features": 4}, "convlstm")


def test_nested_sections_become_nested_dataclasses():
    config = from_section(ModelConfig, {"features": 8, "mlstm": {"num_heads": 2}}, "model")
    assert (config.features, config.mlstm.num_heads, config.slstm) == (8, 2, ModelConfig().slstm)
