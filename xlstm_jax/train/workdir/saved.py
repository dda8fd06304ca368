"""A trained run, read back from its workdir."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from xlstm_jax.errors import UsageError
from xlstm_jax.models import LanguageModel, Stack
from xlstm_jax.train.build import Parts, build
from xlstm_jax.train.sections import parse
from xlstm_jax.train.step import abstract_state
from xlstm_jax.train.workdir.borrowed import opened
from xlstm_jax.train.workdir.checkpoint import Checkpoints
from xlstm_jax.train.workdir.faults import Removed
from xlstm_jax.train.workdir.folder import CONFIG, read_config

TRIES = 5  # at a checkpoint that a training still in progress removes


class Saved(NamedTuple):
    parts: Parts
    params: Any
    step: int

    @property
    def model(self) -> nnx.Module:
        """The model, with each block by itself where it is a stack of them, as decoding wants it."""
        model = self.parts.model(self.params)
        return model.unscanned() if isinstance(model, Stack) else model


def unknown_data(workdir: str | Path, changes: Mapping[str, Any]) -> list[str]:
    """Those of the keys that the section `data` of the run in a workdir does not have."""
    return [key for key in changes if key not in _config(workdir)["data"]]


def load(workdir: str | Path, checkpoint: str = "best", *, data: Mapping[str, Any] | None = None) -> Saved:
    """The run of `workdir` with the parameters of a checkpoint: "best", "latest" or a step.

    `data` changes keys of the config's section `data`: the run on other data than its own, with its own codec.

    Raises:
        UsageError: there is no run, or the checkpoint is missing or damaged.
    """
    config = _config(workdir)
    config["data"] |= data or {}
    config |= {"mesh": {"data": 1}}  # what was trained on many devices is read on one
    task, parts, tries = parse(config).task, None, TRIES
    while True:
        try:
            with Checkpoints(workdir, best=task.best, read_only=True) as checkpoints:
                step = checkpoints.select(checkpoint)
                parts = parts or build(config, task.codec_from_json(checkpoints.codec(step)))
                return Saved(parts, checkpoints.restore_params(step, abstract_state(parts).params), step)
        except Removed:  # a training is in progress there: the data took long to read, or its steps are quick
            tries -= 1
            if not tries:
                raise


def initial_params(parts: Parts) -> Any:
    """The best parameters of the run in `train.init_from`, for another run to begin with.

    Raises:
        UsageError: there is no run, its task, codec or shapes are others, or the checkpoint is damaged.
    """
    key, workdir = "train.init_from", parts.sections.train.init_from
    with opened(key, workdir, type(parts.task)) as ((codec, _), restored):
        if codec is not None and codec.to_json() != parts.task.codec.to_json():
            raise UsageError(
                f"{key} {workdir!r} reads its data by another codec, such as another vocabulary; give a run whose "
                "codec is that of these data"
            )
        return restored(abstract_state(parts).params)


def load_language_model(workdir: str | Path, checkpoint: str = "best") -> Saved:
    """`load` for a run of a language model.

    Raises:
        UsageError: as `load`, or the run is of another task.
    """
    saved = load(workdir, checkpoint)
    if not isinstance(saved.parts.model(saved.params), LanguageModel):
        raise UsageError(
            f"workdir {workdir} holds no language model; use experiments.predict and experiments.evaluate for its task"
        )
    return saved


def _config(workdir: str | Path) -> dict[str, Any]:
    path = Path(workdir) / CONFIG
    if not path.is_file():
        raise UsageError(f"workdir {workdir} holds no run (no config.json); train there first")
    return read_config(path)
