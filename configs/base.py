"""All config keys with their default values, explained in docs/knobs.md. Other config files start from these.

The keys are the fields of the dataclass of each section, defined next to the code that reads them: `data`, `model` and
`sample` belong to the task (`xlstm_jax/tasks/`), `model.NAME` to a block (`xlstm_jax/models/blocks/`), the others are
in `xlstm_jax/train/sections.py`. Any key can be set on the command line: `--config.train.steps=300`.
"""

from ml_collections import ConfigDict

from xlstm_jax.config import knobs
from xlstm_jax.plugins import load_plugins
from xlstm_jax.tasks import TASKS
from xlstm_jax.train.sections import kinds


def get_config(task: str = "language_model") -> ConfigDict:
    """Returns the defaults for a task, a name in `xlstm_jax.tasks.TASKS`."""
    load_plugins()
    config = ConfigDict()
    config.task = task
    config.seed = 0  # for parameters, data order and dropout; from 0 to 2**32 - 1
    config.plugins = ""  # comma-separated modules to import first: "my_package.cells,other.module"
    for name, kind in kinds(TASKS.get(task)).items():
        config[name] = ConfigDict(knobs(kind))
    return config
