"""Every number in a config has bounds: what cannot be used is refused by the key's name, before any data are read."""

import dataclasses
import functools
import math
import re
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.configs.test_configs import CONFIGS, flat, get
from tests.models.examples import VOCABULARY, abstract, small
from tests.tasks.examples import tiny_config
from xlstm_jax.config import Bounds, Section, Seed, bounds_of, check_value, from_section
from xlstm_jax.errors import UsageError
from xlstm_jax.models import BLOCKS, ModelConfig, build_model
from xlstm_jax.models.blocks.mlstm import MLSTMBlockConfig
from xlstm_jax.tasks import TASKS
from xlstm_jax.train.build import build
from xlstm_jax.train.optimizer import OptimizerConfig, make_optimizer
from xlstm_jax.train.sections import kinds

# The keys that take negative numbers.
BIASES = {"model.mlstm.input_bias_mean", "model.mlstm.forget_bias_low", "model.mlstm.forget_bias_high"}
# Where 0 is a number like others, or means "none" or "chosen". Any other key refuses it.
ZERO = BIASES | {"seed"}
ZERO |= {f"data.{key}" for key in ("long_length", "longest_tested", "noise", "season", "calibration")}
ZERO |= {f"data.{key}" for key in ("covariates", "covariates_share", "validation", "test")} | {"model.patch"}
ZERO |= {f"model.{key}" for key in ("num_blocks", "dropout", "embedding_std", "logit_softcap")}
ZERO |= {f"model.{key}" for key in ("head_dropout", "token_dropout", "input_dropout", "replication")}
ZERO |= {f"model.{key}" for key in ("letter_features", "label_smoothing", "most_tokens")}
ZERO |= {f"model.{key}" for key in ("length_penalty", "coverage_penalty")}
ZERO |= {f"model.mlstm.{key}" for key in ("conv_width", "ffn_factor", "input_bias_std", "chunk_size")}
ZERO |= {f"model.slstm.{key}" for key in ("proj_factor", "conv_width", "ffn_factor")}
ZERO |= {f"model.recurrent.{key}" for key in ("dropout", "ffn_factor")}
ZERO |= {f"model.xlstm.{key}" for key in ("ffn_features", "gate_softcap", "eps", "chunk_size")}
ZERO |= {"model.transformer.num_kv_heads", "model.mamba2.chunk_size", "mesh.data"}
ZERO |= {f"optimizer.{key}" for key in ("warmup_steps", "final_scale", "weight_decay", "clip_norm")}
ZERO |= {f"optimizer.{key}" for key in ("b1", "b2", "momentum")}
ZERO |= {f"train.{key}" for key in ("max_skipped", "peak_flops")} | {"sample.length", "sample.temperature"}

CHOICES = ("data.marks", "data.classes", "data.fold")  # these name what they take

NEVER = (math.nan, math.inf, -math.inf, 10**400, 1e39, 1e-39, "1", None, True)
INTEGERS = (2**63, -(2**63))  # of integers alone; float32 holds them


def sections():
    """(task, name, class) of every section that any task's config has."""
    for task in TASKS.names():
        for name, kind in kinds(TASKS.get(task)).items():
            yield task, name, kind


def annotations(config_class, name):
    """(dotted name, annotation) of every value in a section."""
    for field in dataclasses.fields(config_class):
        key = f"{name}.{field.name}"
        yield from annotations(field.type, key) if dataclasses.is_dataclass(field.type) else [(key, field.type)]
    for part, kind in config_class.nested().items():
        yield from annotations(kind, f"{name}.{part}")


def keys():
    """(task, dotted name, annotation) of every number."""
    yield "", "seed", Seed
    seen = set()
    for task, name, parsed in sections():
        for key, annotation in annotations(parsed, name) if (name, parsed) not in seen else ():
            if bounds_of(annotation):
                yield task, key, annotation
        seen.add((name, parsed))


def nested(key: str, value):
    """What `from_section` takes, by the keys after the section's own name."""
    for part in reversed(key.split(".")[1:]):
        value = {part: value}
    return value


def give(task: str, key: str, value):
    name = key.split(".")[0]
    if name == "seed":
        return check_value(Seed, value, key)
    return from_section(kinds(TASKS.get(task))[name], nested(key, value), name)


def test_no_number_is_without_bounds():
    """A new key says in its annotation what it takes."""
    for _, name, parsed in sections():
        assert issubclass(parsed, Section)
        for key, annotation in annotations(parsed, name):
            assert annotation not in (int, float), f"{key} has no bounds; see xlstm_jax.config"
    known = {key for _, key, _ in keys()}
    for name, variant in CONFIGS:
        for key, value in flat(get(name, variant).to_dict()):
            if isinstance(value, int | float) and not isinstance(value, bool) and key not in CHOICES:
                assert key in known, key


def test_numbers_that_no_key_takes():
    """NaN, infinities, what float32 or an integer cannot hold, and what is no number."""
    for task, key, annotation in keys():
        for value in (*NEVER, *(INTEGERS if annotation.__origin__ is int else ())):
            with pytest.raises(UsageError, match=re.escape(f"{key} ") + r".* is not allowed; must be .") as caught:
                give(task, key, value)
            assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_zero_and_negative_numbers():
    accepted = {0: set(), -1: set()}
    for task, key, annotation in keys():
        kind = annotation.__origin__
        for value, takers in accepted.items():
            try:
                give(task, key, kind(value))
            except UsageError as error:
                assert re.match(
                    re.escape(f"{key} {kind(value)} is not allowed; must be ") + r"(at least|over) \d", str(error)
                )
            else:
                takers.add(key)
    assert accepted == {0: ZERO, -1: BIASES}


def test_integers_are_int32():
    """Steps and sizes are; a seed is what jax's keys tell apart."""
    for task, key, annotation in keys():
        if annotation.__origin__ is int:
            limit = 2**32 if key == "seed" else 2**31
            with pytest.raises(UsageError, match=rf"{key} {limit} is not allowed"):
                give(task, key, limit)
            with pytest.raises(UsageError, match=rf"{key} 1\.5 is not allowed; must be an integer, at least"):
                give(task, key, 1.5)
    assert not np.array_equal(*(jax.random.key_data(jax.random.key(seed)) for seed in (0, 2**32 - 1)))


@pytest.mark.parametrize(
    ("bounds", "value", "message"),
    [
        (Bounds(under=1), 1 - 1e-12, "a.b 0.999999999999 is not allowed; must be under 1 in float32"),
        (Bounds(over=0), math.nan, "a.b nan is not allowed; must be over 0 and finite in float32"),
        (Bounds(), math.inf, "a.b inf is not allowed; must be finite in float32"),
        (Bounds(least=0), 1e-300, "a.b 1e-300 is not allowed; must be 0, or at least 1e-38 in float32"),
        (Bounds(over=0), 1e-300, "a.b 1e-300 is not allowed; must be at least 1e-38 in float32"),
        (Bounds(over=0, most=8), 9, "a.b 9 is not allowed; must be over 0 and at most 8"),
    ],
)
def test_what_is_said_of_a_number(bounds, value, message):
    fields = [("b", Annotated[float, bounds], 0.5)]
    Options = dataclasses.make_dataclass("Options", fields, bases=(Section,), namespace={"section": "a"}, frozen=True)
    for make in (lambda: Options(b=value), lambda: from_section(Options, {"b": value}, "a")):
        with pytest.raises(UsageError, match=re.escape(message) + "$"):
            make()


def test_texts_and_switches_are_what_they_are():
    for section, key, value, allowed in (
        ("model", "tie_embedding", 1, "True or False"),
        ("data", "path", 3, "a string"),
        ("data", "path", None, "a string"),
    ):
        with pytest.raises(UsageError, match=rf"{section}\.{key} {value} is not allowed; must be {allowed}"):
            give("language_model", f"{section}.{key}", value)
    with pytest.raises(UsageError, match=r"data\.marks 2\.0 is not allowed; must be one of 2, 3"):
        give("temporal_order", "data.marks", 2.0)
    with pytest.raises(UsageError, match=r"^blocks=dict is not allowed; give instances of a block's Config$"):
        ModelConfig(blocks=({},))
    with pytest.raises(UsageError, match="blocks has MLSTMBlockConfig twice"):
        ModelConfig(blocks=(MLSTMBlockConfig(), MLSTMBlockConfig()))
    for values in ([1], "text", 3, None):
        with pytest.raises(UsageError, match=r"model\.mlstm .* is not allowed; must be a section with keys"):
            give("language_model", "model.mlstm", values)


def test_refused_before_any_data_are_read(tmp_path):
    """The text is not there, which would be said first."""
    for key, value in (
        ("seed", 2**63),
        ("data.batch_size", 0),
        ("model.rwkv6.head_features", 0),
        ("optimizer.learning_rate", math.nan),
        ("mesh.context", -1),
        ("train.accumulate", 0),
        ("sample.temperature", math.inf),
    ):
        config = tiny_config("language_model", tmp_path / "none.txt").to_dict()
        *path, last = key.split(".")
        functools.reduce(dict.__getitem__, path, config)[last] = value
        with pytest.raises(UsageError, match=rf"^{key} {value} is not allowed"):
            build(config)


def test_zero_works_in_every_block():
    """As far as shapes go, all such keys at once; the oracles' tests have the values."""
    options = {}
    for name in BLOCKS.names():
        zeros = [key.split(".")[-1] for key in ZERO if key.startswith(f"model.{name}.")]
        options[name] = dataclasses.replace(small("").options(BLOCKS.get(name).Config), **dict.fromkeys(zeros, 0))
    top = dict.fromkeys(("num_blocks", "dropout", "embedding_std", "logit_softcap"), 0)
    graphdef, params = abstract(small(",".join(BLOCKS.names()), **top, **options))
    tokens = jax.ShapeDtypeStruct((2, 5), np.int32)
    logits, _ = jax.eval_shape(lambda params, tokens: nnx.merge(graphdef, params).unroll(tokens), params, tokens)
    assert logits.shape == (2, 5, VOCABULARY)


@pytest.mark.parametrize("name", ["adamw", "adam", "rmsprop", "sgd"])
def test_zero_works_in_every_optimizer(name):
    zeros = {key.split(".")[-1]: 0 for key in ZERO if key.startswith("optimizer.")}
    optimizer, _ = make_optimizer(OptimizerConfig(name=name, schedule="linear", **zeros), 2, None)
    params = {"kernel": jnp.ones((2, 2))}
    updates, _ = optimizer.update({"kernel": jnp.full((2, 2), 0.5)}, optimizer.init(params), params)
    assert (np.asarray(updates["kernel"]) < 0).all()


def test_widths_that_come_to_nothing():
    for block, letter, factor in (
        ("mlstm", "m", "proj_factor"),
        ("slstm", "s", "proj_factor"),
        ("xlstm", "x", "qk_factor"),
        ("xlstm", "x", "v_factor"),
        ("mamba2", "d", "expansion"),
        ("minimal", "n", "expansion"),
        ("rwkv6", "w", "ffn_factor"),
    ):
        options = dataclasses.replace(small(letter).options(BLOCKS.get(block).Config), **{factor: 1e-3})
        with pytest.raises(UsageError, match=rf"model\.{block}\.{factor} 0\.001 is not allowed; the width is 0 with"):
            build_model(small(letter, **{block: options}))


def test_convolutions_are_short():
    """Each tap is an operation of the program: 2**31 - 1 of them would be written for ever."""
    for task, key, _ in keys():
        if key.endswith("conv_width"):
            with pytest.raises(UsageError, match=rf"{key} 1025 is not allowed; must be at least [01] and at most 1024"):
                give(task, key, 1025)


def test_soft_caps_divide():
    """In float32 what is divided by 1e38 is 0, and so were all logits."""
    for key in ("model.logit_softcap", "model.xlstm.gate_softcap"):
        with pytest.raises(UsageError, match=rf"{key} 1e\+38 is not allowed; must be .* at most 1000000000"):
            give("language_model", key, 1e38)
        give("language_model", key, 1e9)


def test_models_that_no_machine_holds():
    for changes, message in (
        ({"pattern": "xLSTM[100000000:1]"}, r"model\.pattern 'xLSTM\[100000000:1\]' has 100000001 blocks"),
        ({"pattern": "xLSTM[0:0]"}, r"model\.pattern 'xLSTM\[0:0\]' has 0 blocks"),
        ({"pattern": "m" * 10_001}, r"model\.pattern 'm{37}\.\.\.' has 10001 blocks; give between 1 and 10000"),
    ):
        with pytest.raises(UsageError, match=message):
            build_model(small(**changes))
    config = tiny_config("adding", None).to_dict()
    config["model"] |= {"pattern": "m", "features": 2**30}
    with pytest.raises(UsageError, match=r"asks for .* parameters, and there can be at most 1e\+14; lower model\.feat"):
        build(config)
