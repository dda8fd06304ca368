"""A config's sections as frozen dataclasses; everything that can be checked before data are read is checked here."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from xlstm_jax.config import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Section,
    Seed,
    check_value,
    from_section,
    to_section,
)
from xlstm_jax.errors import UsageError, shown
from xlstm_jax.models import StackConfig
from xlstm_jax.plugins import load_plugins
from xlstm_jax.sharding import MeshConfig
from xlstm_jax.tasks import TASKS, Task
from xlstm_jax.train.optimizer import OptimizerConfig


@dataclasses.dataclass(frozen=True)
class TrainConfig(Section, name="train"):
    steps: PositiveInt = 1000  # may be raised when a run is resumed; a decaying schedule then stretches
    init_from: str = ""  # workdir of a run of the same task and model, whose best parameters training begins with
    accumulate: PositiveInt = 1  # equal parts of a batch's rows, read one after another; their gradients make one step
    log_every: PositiveInt = 10  # steps between lines in metrics.jsonl
    eval_every: PositiveInt = 100  # steps between evaluations; each one is followed by a checkpoint
    keep: PositiveInt = 2  # latest checkpoints kept, in addition to the best one
    # Consecutive steps with a loss or gradient that is not finite, which change nothing; one more ends the run.
    max_skipped: NonNegativeInt = 10  # 0: the first ends it
    peak_flops: NonNegativeFloat = 0.0  # FLOP/s of one device, for train/utilisation; 0: by its name, if known


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(Section, name="evaluation"):
    carry: bool = False  # pass the state from window to window; otherwise every window starts from an empty state


@dataclasses.dataclass(frozen=True)
class Sections:
    """One config, checked."""

    seed: int
    plugins: str
    task: type[Task]
    data: Any
    model: StackConfig
    optimizer: OptimizerConfig
    train: TrainConfig
    evaluation: EvaluationConfig
    sample: Any
    mesh: MeshConfig


COMMON = {"optimizer": OptimizerConfig, "train": TrainConfig, "evaluation": EvaluationConfig, "mesh": MeshConfig}
VALUES = {"task": str, "seed": int, "plugins": str}  # what is no section
NAMES = (*VALUES, "data", "model", "sample", *COMMON)


def kinds(task: type[Task]) -> dict[str, type]:
    """The dataclass of each section for a task."""
    return {"data": task.Config, "model": task.Model, "sample": task.Example, **COMMON}


def defaults(task: str) -> dict[str, Any]:
    """Every section's keys with the values that they have if a config does not give them."""
    return {name: to_section(kind()) for name, kind in kinds(TASKS.get(task)).items()}


def parse(config: Mapping[str, Any]) -> Sections:
    """The sections of a config file; its plugins are imported first.

    Raises:
        UsageError: an unknown or missing section, an unknown key, a value that is not allowed, or a plugin that cannot
            be imported.
    """
    if unknown := [name for name in config if name not in NAMES]:
        raise UsageError(f"config section {unknown[0]!r} is unknown; known: {', '.join(NAMES)}")
    if missing := [name for name in NAMES if name not in config and name not in ("plugins", "sample")]:
        raise UsageError(f"config section {missing[0]!r} is missing; start from configs/base.py, which has all")
    check_value(Seed, config["seed"], "seed")
    if not isinstance(config["task"], str):
        raise UsageError(f"task {shown(config['task'])} is not allowed; choose one of {', '.join(TASKS.names())}")
    load_plugins(config.get("plugins", ""))
    task = TASKS.get(config["task"])
    sections = {name: from_section(kind, config.get(name, {}), name) for name, kind in kinds(task).items()}
    return Sections(seed=config["seed"], plugins=config.get("plugins", ""), task=task, **sections)
