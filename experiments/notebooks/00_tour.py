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
# Five cells train a small xLSTM, character by character, draw its losses and sample from it. They call what the
# command-line programs call, by the same names; the last section gives the commands.

# %%
# The project: as it is installed; else the checkout that this notebook stands in or beside; else ADDRESS.
import importlib.util
import pathlib
import subprocess
import sys

ADDRESS = "xlstm_jax"
found = importlib.util.find_spec("xlstm_jax")
if found is None or found.origin is None:  # a folder of that name, as a checkout's, is no package
    here = pathlib.Path.cwd()
    folders = (here / "xlstm_jax", here, *here.parents)
    source = next((str(one) for one in folders if (one / "xlstm_jax" / "__init__.py").is_file()), ADDRESS)
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", source], check=True)
import xlstm_jax

xlstm_jax.__version__

# %% [markdown]
# Sizes of this run. `configs/char_lm.py:xlstm` itself has the pattern `msm`, 224 features and 1404 steps, for a GPU or
# more patience.

# %% tags=["parameters"]
pattern = "ms"  # a letter a block: m is an mLSTM block, s an sLSTM block
features = 128  # width of the embedding and of every block
steps = 300
learning_rate = 5e-3  # higher than the config's, for so few steps
length = 500  # characters to sample
seed = 0

# %% [markdown]
# ## Train
#
# A config is a tree of knobs. `configs/base.py` has all of them, each with a comment; a file such as `char_lm.py` sets
# those of one task, and here some are set once more.

# %%
from configs import char_lm

config = char_lm.get_config("xlstm")
config.seed = seed
config.model.pattern = pattern
config.model.features = features
config.model.dropout = 0.0  # in two passes over the text nothing is learned by heart
config.optimizer.learning_rate = learning_rate
config.train.steps = steps
config.train.eval_every = 50
config.sample.length = 0  # the text at the end of training is drawn below instead
print(config.optimizer)

# %% [markdown]
# `train` fills a folder: `config.json`, `metrics.jsonl`, `checkpoints/`, `loss.png`. Called again on the same folder it
# goes on where it stopped, also with a larger `config.train.steps`.

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
# In nats a character. A guess among the 65 characters of the text costs $\ln 65 = 4.17$. The loss of training is that
# of single batches; that of validation is over the last tenth of the text, which the model was not trained on.

# %%
from IPython.display import Image

Image(f"{workdir}/loss.png")

# %% [markdown]
# ## Sample
#
# `load` reads the checkpoint of the lowest validation loss. Generation steps the model with the very carry that it was
# trained with, so that its cost a character does not grow with the text.

# %%
from xlstm_jax.generate import sample_text
from xlstm_jax.train.workdir import saved

trained = saved.load(workdir)
tokenizer = trained.run.task.codec
print(sample_text(trained.model, tokenizer, "ROMEO:\n", length=length, temperature=0.8, seed=seed))

# %% [markdown]
# ## The same from the command line
#
# At the config's own sizes (`--config.model.features=128` and so on set others):
#
# ```sh
# python -m experiments.train --config=configs/char_lm.py:xlstm --workdir=/tmp/xlstm
# python -m experiments.evaluate --workdir=/tmp/xlstm --split=validation --carry
# python -m experiments.generate --workdir=/tmp/xlstm --prompt="To be or not to be" --length=300
# ```
#
# What the gates of such models do is in `01_gates`.
