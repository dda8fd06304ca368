"""Every config file and every variant: read, parsed into dataclasses, and built as far as shapes go."""

import importlib
import pathlib
import re

import pytest
from flax import nnx

from configs import base
from xlstm_jax.cells import CELLS
from xlstm_jax.config import from_section, listed, to_section
from xlstm_jax.errors import UsageError
from xlstm_jax.models import ModelConfig, Stack
from xlstm_jax.models.blocks.mlstm import MLSTMBlockConfig
from xlstm_jax.models.blocks.slstm import SLSTMBlockConfig
from xlstm_jax.tasks import TASKS
from xlstm_jax.train.optimizer import make_optimizer
from xlstm_jax.train.sections import NAMES, kinds, parse

FILES = sorted(path.stem for path in pathlib.Path(base.__file__).parent.glob("[!_]*.py"))
CONFIGS = [
    (name, variant)
    for name in FILES
    for variant in (None, *getattr(importlib.import_module(f"configs.{name}"), "VARIANTS", ()))
]


def get(name, variant=None):
    get_config = importlib.import_module(f"configs.{name}").get_config
    return get_config() if variant is None else get_config(variant)


def flat(tree, prefix=""):
    for key, value in tree.items():
        yield from flat(value, f"{prefix}{key}.") if isinstance(value, dict) else [(prefix + key, value)]


def test_there_are_configs():
    assert {"base", "quickstart", "char_lm"} <= set(FILES)
    assert ("char_lm", "tiny") in CONFIGS


def _marked(name, variant):
    large = name == "xlstm" and variant and re.search(r"\db$", variant)  # billions of parameters
    return pytest.param(name, variant, marks=[pytest.mark.slow] if large else [])


@pytest.mark.parametrize("name, variant", [_marked(*config) for config in CONFIGS])
def test_config_builds(name, variant):
    """Except the data: sections parse, the model's sizes fit, the optimizer's options go together."""
    config = get(name, variant).to_dict()
    assert set(config) == set(NAMES)
    sections = parse(config)
    assert sections.data.batch_size >= 1
    make_optimizer(sections.optimizer, sections.train.steps, None)
    assert sections.train.eval_every <= sections.train.steps
    stack = nnx.eval_shape(lambda: Stack(sections.model, rngs=nnx.Rngs(0)))
    assert len(stack.blocks) == len(sections.model.layers)


@pytest.mark.parametrize("name, variant", CONFIGS)
def test_config_keeps_the_keys_and_types_of_base(name, variant):
    """So that an override on the command line has the right type."""
    config = get(name, variant)
    got, wanted = (dict(flat(tree.to_dict())) for tree in (config, base.get_config(config.task)))
    assert got.keys() == wanted.keys()
    for key, value in wanted.items():
        assert type(got[key]) is type(value), key


@pytest.mark.parametrize("task", TASKS.names())
def test_base_is_the_dataclass_defaults(task):
    config = base.get_config(task).to_dict()
    for name, kind in kinds(TASKS.get(task)).items():
        assert to_section(from_section(kind, config[name], name)) == to_section(kind())
    assert parse(config).model.layers == TASKS.get(task).Model().layers
    assert "vocab_size" not in config["model"]  # the data set it


@pytest.mark.parametrize("name", [name for name in FILES if name != "base"])
def test_docstring_opens_with_the_command(name):
    doc = importlib.import_module(f"configs.{name}").__doc__
    command = re.search(r"python -m experiments\.train --config=configs/(\w+)\.py(?::(\w+))? --workdir=\S+", doc)
    assert command and command[1] == name
    get(name, command[2])


def test_variants_compose():
    config = get("char_lm", "xlstm,bpe,tiny")
    assert (config.model.pattern, config.data.tokenizer, config.train.steps) == ("msm", "bpe", 20)
    assert config.optimizer.weight_decay == get("char_lm", "xlstm").optimizer.weight_decay == 0.1
    config = get("char_lm", "lstm,features=512,optimizer.learning_rate=3e-4, sample.prompt=To be")
    assert (config.model.features, config.optimizer.learning_rate) == (512, 3e-4)
    assert (config.model.recurrent.cell, config.sample.prompt) == ("lstm", "To be")
    assert get("char_lm", "tie_embedding=true").model.tie_embedding is True
    assert get("char_lm", "features=512").model.pattern == get("char_lm").model.pattern  # the default variant's


@pytest.mark.parametrize(
    ("variant", "message"),
    [
        ("ltsm", r"variant 'ltsm' is unknown; allowed: .*lstm, gru.*, and KEY=VALUE"),
        ("lstm,,tiny", r"variant '' is unknown"),
        ("lstm,featurs=3", r"key 'featurs' is unknown; the config has: data, .*train"),
        ("lstm,model.featurs=3", r"key 'model\.featurs' is unknown; model has: blocks|dropout.*features"),
        ("features=1.5", r"features '1\.5' is not allowed; give an integer"),
        ("tie_embedding=maybe", r"tie_embedding 'maybe' is not allowed; give True or False"),
        ("model=3", r"key 'model' is a section; it has: .*features"),
    ],
)
def test_variants_that_are_none(variant, message):
    with pytest.raises(UsageError, match=message) as caught:
        get("char_lm", variant)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("section", "values", "message"),
    [
        (
            "train",
            {"step": 3},
            r"config key train\.step is unknown; train has: accumulate, eval_every, init_from, keep, .*steps",
        ),
        ("model", {"mlstm": {"heads": 2}}, r"config key model\.mlstm\.heads is unknown; model\.mlstm has: .*num_heads"),
        ("model", {"dtype": "float16"}, r"model\.dtype 'float16' is not allowed; .* 'float32', 'bfloat16'"),
        ("model", {"slstm": {"input_gate": "tanh"}}, r"model\.slstm\.input_gate 'tanh' .* 'exp', 'sigmoid'"),
        ("optimizer", {"name": "lion"}, r"optimizer\.name 'lion' .* 'adamw', 'adam', 'rmsprop', 'sgd'"),
        ("data", {"sampling": "shuffle"}, r"data\.sampling 'shuffle' .* 'windows', 'stream'"),
        ("train", {"steps": 0}, r"train\.steps 0 is not allowed; must be at least 1"),
    ],
)
def test_errors_list_what_is_allowed(section, values, message):
    with pytest.raises(UsageError, match=message) as caught:
        from_section(kinds(TASKS.get("language_model"))[section], values, section)
    assert "\n" not in str(caught.value)


def test_a_missing_key_is_named():
    with pytest.raises(UsageError, match=r"config key convlstm\.spatial_shape is missing; convlstm needs it"):
        from_section(CELLS.get("convlstm").Config, {"in_features": 3, "features": 4}, "convlstm")


def test_nested_sections_become_nested_dataclasses():
    config = from_section(ModelConfig, {"features": 8, "mlstm": {"num_heads": 2}}, "model")
    assert (config.features, config.blocks) == (8, (MLSTMBlockConfig(num_heads=2),))
    assert config.options(SLSTMBlockConfig) == SLSTMBlockConfig()
    back = to_section(config)
    assert (
        from_section(ModelConfig, back, "model").options(MLSTMBlockConfig).num_heads == back["mlstm"]["num_heads"] == 2
    )


def test_names_in_an_option():
    assert listed("b, a ,c d") == ("b", "a", "c d") and listed(" , ,a,") == ("a",)
    assert listed("") == listed(" , ") == ()
