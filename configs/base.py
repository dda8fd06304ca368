"""Every key of a config with its default value; docs/knobs.md explains each. Other config files start from here.

The keys are the fields of the dataclasses that the sections become, each written once, beside the code that reads it:
`data`, `model` and `sample` are the task's (`xlstm_jax/tasks/`), `model.NAME` a block's (`xlstm_jax/models/blocks/`),
the others those of `xlstm_jax/train/sections.py`. Any of them can be set on the command line:
`--config.train.steps=300`.
"""

from ml_collections import ConfigDict

from xlstm_jax.config import knobs
from xlstm_jax.plugins import load_plugins
from xlstm_jax.tasks import TASKS
from xlstm_jax.train.sections import kinds


def get_config(task: str = "language_model") -> ConfigDict:
    """The defaults of a task: a name in `xlstm_jax.tasks.TASKS`."""
    load_plugins()
    config = ConfigDict()
    config.task = task
    config.seed = 0  # of the parameters, the order of the data, and dropout; from 0 to 2**32 - 1
    config.plugins = ""  # modules to import first, with commas between them: "my_package.cells,other.module"
    for name, kind in kinds(TASKS.get(task)).items():
        config[name] = ConfigDict(knobs(kind))
    return config
