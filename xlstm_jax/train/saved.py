"""A trained run, read back from its workdir."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from xlstm_jax.data.tokenizers import tokenizer_from_json
from xlstm_jax.errors import UsageError
from xlstm_jax.models import LanguageModel, unscanned
from xlstm_jax.train.checkpoint import Checkpoints, Removed
from xlstm_jax.train.run import Run
from xlstm_jax.train.workdir import CONFIG, read_config

TRIES = 5  # at a checkpoint, of a training that goes on and removes it


class Saved(NamedTuple):
    run: Run
    params: Any
    step: int

    @property
    def model(self) -> LanguageModel:
        """With each block by itself, for decoding."""
        return unscanned(self.run.model(self.params))


def load(workdir: str | Path, checkpoint: str = "best", *, data: Mapping[str, Any] | None = None) -> Saved:
    """The run of `workdir` with the parameters of a checkpoint: "best", "latest" or a step.

    `data` changes keys of the config's section `data`: the run on other texts than its own, with its own tokenizer.

    Raises:
        UsageError: there is no run, or the checkpoint is missing or damaged.
    """
    path = Path(workdir) / CONFIG
    if not path.is_file():
        raise UsageError(f"workdir {workdir} holds no run (no config.json); train there first")
    config = read_config(path)
    config["data"] |= data or {}
    config |= {"mesh": {"data": 1}}  # what is trained on many devices is read on one
    run, tries = None, TRIES
    while True:
        try:
            with Checkpoints(workdir, read_only=True) as checkpoints:
                step = checkpoints.select(checkpoint)
                run = run or Run(config, tokenizer_from_json(checkpoints.tokenizer(step)))
                return Saved(run, checkpoints.restore_params(step, run.abstract_state.params), step)
        except Removed:  # a training goes on there: the data took long to read, or its steps are quick
            tries -= 1
            if not tries:
                raise
