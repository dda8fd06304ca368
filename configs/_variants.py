"""Variants of a config file, which compose: `configs/char_lm.py:xlstm,bpe,tiny` or `:lstm,features=512`."""

from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict

from xlstm_jax.config import typed
from xlstm_jax.errors import UsageError

Variants = Mapping[str, Callable[[ConfigDict], None]]


def compose(config: ConfigDict, chosen: str, variants: Variants, default: str) -> ConfigDict:
    """The config with the chosen variants applied, from the left to the right.

    Args:
        config: what all variants start from; it is changed.
        chosen: names of variants and `key=value`, with commas between them; "" is `default`. A key is written as on
            the command line (`model.features`), or by its last part (`features`) if only one section has it.
        variants: by name, functions that change the config.
        default: what applies first if only values, or nothing, are chosen.

    Raises:
        UsageError: an unknown variant or key, or a value of another type.
    """
    if all("=" in part for part in chosen.split(",") if chosen):
        chosen = f"{default},{chosen}" if chosen else default
    for part in chosen.split(","):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if equals:
            _set(config, key, value)
        elif key in variants:
            variants[key](config)
        else:
            raise UsageError(
                f"variant {key!r} is unknown; allowed: {', '.join(variants)}, and KEY=VALUE such as model.features=64"
            )
    return config


def few_steps(config: ConfigDict) -> None:
    """Trains for seconds, for tests; each file's variant `tiny` also makes the model and the data small."""
    config.optimizer.warmup_steps = 0
    config.train.steps = 20
    config.train.log_every = 5
    config.train.eval_every = 10


def _set(config: ConfigDict, key: str, value: str) -> None:
    *path, last = _path(config, key)
    section: Any = config
    for name in path:
        section = section[name]
    section[last] = typed(type(section[last]), value, key)


def _path(config: ConfigDict, key: str) -> list[str]:
    """Where a key lies, from its full name or its last part."""
    sections = [name for name in config if isinstance(config[name], ConfigDict)]
    if "." not in key and key not in config:
        owners = [name for name in sections if key in config[name]]
        if len(owners) > 1:
            choices = ", ".join(f"{name}.{key}" for name in owners)
            raise UsageError(f"key {key!r} is in several sections; write one of {choices}")
        key = f"{owners[0]}.{key}" if owners else key
    node, path = config, key.split(".")
    for depth, name in enumerate(path):
        here = ".".join(path[:depth]) or "the config"
        if not isinstance(node, ConfigDict) or name not in node:
            known = ", ".join(sorted(node)) if isinstance(node, ConfigDict) else "no further keys"
            raise UsageError(f"key {key!r} is unknown; {here} has: {known}")
        node = node[name]
    if isinstance(node, ConfigDict):
        raise UsageError(f"key {key!r} is a section; it has: {', '.join(sorted(node))}")
    return path
