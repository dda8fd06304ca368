# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # An ablation
#
# A sweep defined in the notebook: where the forget gate's bias starts, in two cells, on a task whose clues lie far
# apart. The runner of the command line trains every point in a process of its own, and its report gives the table and
# the figure.

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
# Sizes. The number of runs is `len(cells) * len(biases) * len(seeds)`, of which `workers` go on at the same time, each
# on its share of the cores; on a GPU, which a run takes whole, that is 1.

# %% tags=["parameters"]
cells = ("lstm", "lstm_cifg")
biases = (0.0, 1.0, 2.0, 4.0)
length = 110  # steps of the longest rows
steps = 700  # of training
seeds = (0,)
workers = 2

# %% [markdown]
# ## The question
#
# Temporal order (Hochreiter & Schmidhuber 1997, experiment 6a): two marks, each an X or a Y, stand among distractors,
# and at the end the row is to be classified by their order. At every step the cell state is multiplied by the forget
# gate, which is about $\sigma(b)$ at the start, for a bias $b$. So after a lag of $n$ steps about $\sigma(b)^n$ is left
# of a mark, and of the gradient that comes back to it along the cell state.

# %%
import matplotlib.pyplot as plt
import numpy as np

figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
lag = np.arange(length + 1)
for bias in biases:
    axes.semilogy(lag, (1 / (1 + np.exp(-bias))) ** lag, label=f"b = {bias:g}, f = {1 / (1 + np.exp(-bias)):.2f}")
for ages, label in (((0.36, 0.55), "age of the marks at the end"), ((0.73, 0.91), "")):
    axes.axvspan(*(length * age for age in ages), color="black", alpha=0.1, lw=0, label=label)
axes.set(xlabel="lag, steps", ylabel="share of the state left", ylim=(1e-8, 2), title="The forget gate at the start")
axes.grid(alpha=0.3)
figure.legend(loc="outside right upper", frameon=False)
plt.show()

# %% [markdown]
# ## The sweep
#
# A question, a config to start from, axes with the config keys that they change, and a metric. `lstm_cifg` has no input
# gate of its own: it is $1 - f$, so that a large bias also keeps the marks out. The metric is the share of rows that
# are right at the end of training; guesses give a quarter. `experiments/sweeps/` has larger sweeps.

# %%
from experiments.sweeping.base import Sweep, product, values
from experiments.sweeping.runner import run_all

sweep = Sweep(
    question="Where must the forget gate's bias start for marks to be remembered?",
    config="configs/temporal_order.py:lstm",
    points=product(values("model.recurrent.cell", cells), values("model.recurrent.forget_bias", biases)),
    changes={
        "data.sequence_length": length,
        "data.long_length": 0,
        "train.steps": steps,
        "train.eval_every": max(steps // 7, 1),
    },
    seeds=seeds,
    metric="validation/solved",
    better="higher",
)
print(*(run.name for run in sweep.runs()), sep="\n")

# %% [markdown]
# ## The runs
#
# Each is an `experiments.train` with a folder of its own. Interrupted and called again on the same folder, `run_all`
# goes on where it stopped.

# %%
import tempfile

workdir = pathlib.Path(tempfile.mkdtemp())
NAME = "my_sweep.py"  # where the sweep would stand
failed = run_all(sweep, NAME, workdir, runs=[*sweep.runs()], workers=workers, retry=False)
assert not failed

# %% [markdown]
# ## The report

# %%
from IPython.display import Image, Markdown

from experiments.sweeping.figure import draw
from experiments.sweeping.records import collect
from experiments.sweeping.report import markdown

rows = collect(sweep, workdir)
Markdown(markdown(sweep, NAME, rows))

# %% [markdown]
# To look at: from which bias on the marks are remembered, how soon, and whether the coupled gate asks for another one.
# One seed shows what can happen; for a claim take several, `seeds = (0, 1, 2)`, and the figure has a band over them.

# %%
draw(sweep, rows, workdir / "figure.png")
Image(workdir / "figure.png")

# %% [markdown]
# To keep the sweep, put it into a file, as what its `get_sweep(variant="")` returns: then the two commands under the
# table run it, on several machines too (`--shard=1/4`), and go on where they stopped.
