# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A tour: an xLSTM on Tiny Shakespeare
#
# Five cells train a small xLSTM, character by character, plot its losses and sample from it. They call the same
# functions as the command-line programs. The last section lists the commands.

# %%
# Use the installed package, or install it from the checkout around or next to this notebook, or else from ADDRESS.
import importlib.util
import pathlib
import subprocess
import sys

ADDRESS = "xlstm_jax"
found = importlib.util.find_spec("xlstm_jax")
if found is None or found.origin is None:  # a plain folder of that name is not the package
    here = pathlib.Path.cwd()
    folders = (here / "xlstm_jax", here, *here.parents)
    source = next((str(one) for one in folders if (one / "xlstm_jax" / "__init__.py").is_file()), ADDRESS)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)
import xlstm_jax

xlstm_jax.__version__

# %% [markdown]
# The sizes of this run. `configs/char_lm.py:xlstm` has the pattern `msm`, 224 features and 1404 steps, for a GPU or
# more patience.

# %% tags=["parameters"]
pattern = "ms"  # one letter per block: m is an mLSTM block, s an sLSTM block
features = 128  # width of the embedding and of all blocks
steps = 300
learning_rate = 5e-3  # higher than in the config, because there are only a few steps
length = 500  # characters to sample
seed = 0

# %% [markdown]
# ## Train
#
# A config is a tree of hyperparameters; docs/knobs.md explains all of them. A file such as `char_lm.py` sets the values
# for one task. The code below overrides some of them.

# %%
from configs import char_lm

config = char_lm.get_config("xlstm")
config.seed = seed
config.model.pattern = pattern
config.model.features = features
config.model.dropout = 0.0  # two passes over the text are too few to memorise it
config.optimizer.learning_rate = learning_rate
config.train.steps = steps
config.train.eval_every = 50
config.sample.length = 0  # no sample at the end of training: we sample below
print(config.optimizer)

# %% [markdown]
# `train` writes `config.json`, `metrics.jsonl`, `checkpoints/` and `loss.png` to a folder. Calling it again on the same
# folder resumes the run, also with a larger `config.train.steps`.

# %%
import tempfile

from experiments.programs import cli
from xlstm_jax.train.loop import train

cli.start_jax()  # keep compiled programs between runs
workdir = tempfile.mkdtemp()
status = train(config, workdir)

# %% [markdown]
# ## The losses
#
# Losses are in nats per character. Guessing uniformly among the 65 characters of the text costs $\ln 65 = 4.17$. The
# training loss is that of single batches. The validation loss is over the last tenth of the text, which is not used for
# training.

# %%
from IPython.display import Image

Image(f"{workdir}/loss.png")

# %% [markdown]
# ## Sample
#
# `load` reads the checkpoint with the lowest validation loss. Generation runs the model step by step and passes on its
# carry, so the cost per character does not grow with the length of the text.

# %%
from xlstm_jax.generate import sample_text
from xlstm_jax.train.workdir import saved

trained = saved.load(workdir)
tokenizer = trained.parts.task.codec
print(sample_text(trained.model, tokenizer, "ROMEO:\n", length=length, temperature=0.8, seed=seed))

# %% [markdown]
# ## The same from the command line
#
# With the sizes of the config (override them with `--config.model.features=128` and so on):
#
# ```sh
# python -m experiments.train --config=configs/char_lm.py:xlstm --workdir=/tmp/xlstm
# python -m experiments.evaluate --workdir=/tmp/xlstm --split=validation --carry
# python -m experiments.generate --workdir=/tmp/xlstm --prompt="To be or not to be" --length=300
# ```
#
# The notebook `01_gates` shows what the gates of such models do.
