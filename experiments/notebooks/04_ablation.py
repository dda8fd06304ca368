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
# This notebook defines a sweep over the initial bias of the forget gate, in two cells, on a task whose cues are far
# apart. The sweep runner trains every point in a separate process. The report contains a table and a figure.

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
# The number of runs is `len(cells) * len(biases) * len(seeds)`. `workers` of them run at the same time, each on its
# share of the cores. Use 1 on a GPU, because each run takes the whole GPU.

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
# The task is temporal order (Hochreiter & Schmidhuber 1997, experiment 6a). Each row has two marks, each X or Y, among
# distractors, and its class is their order. At every step the cell state is multiplied by the forget gate, which is
# initially about $\sigma(b)$ for a bias $b$. After a lag of $n$ steps about $\sigma(b)^n$ is left of a mark, and of the
# gradient that reaches it along the cell state.

# %%
import matplotlib.pyplot as plt
import numpy as np

figure, axes = plt.subplots(figsize=(7.5, 3.6), layout="constrained")
lag = np.arange(length + 1)
for bias in biases:
    axes.semilogy(lag, (1 / (1 + np.exp(-bias))) ** lag, label=f"b = {bias:g}, f = {1 / (1 + np.exp(-bias)):.2f}")
for ages, label in (((0.36, 0.55), "age of the marks at the end"), ((0.73, 0.91), "")):
    axes.axvspan(*(length * age for age in ages), color="black", alpha=0.1, lw=0, label=label)
axes.set(xlabel="lag, steps", ylabel="share of the state left", ylim=(1e-8, 2), title="Initial forget gate")
axes.grid(alpha=0.3)
figure.legend(loc="outside right upper", frameon=False)
plt.show()

# %% [markdown]
# ## The sweep
#
# A sweep has a question, a base config, axes with the config keys that they change, and a metric. `lstm_cifg` has no
# separate input gate: it is $1 - f$, so a large bias also keeps the marks out. The metric is the share of rows that are
# correct at the end of training; guessing scores a quarter. `experiments/sweeps/` has larger sweeps.

# %%
from experiments.sweeping.base import Sweep, axis, product, values
from experiments.sweeping.runner import run_all

initial = {f"{bias:g}": {"model.recurrent.options": f"forget_bias={bias}"} for bias in biases}
sweep = Sweep(
    question="Which initial bias of the forget gate lets the cell remember the marks?",
    config="configs/temporal_order.py:lstm",
    points=product(values("model.recurrent.cell", cells), axis("forget_bias", initial)),
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
# Each run is an `experiments.train` in its own folder. If `run_all` is interrupted, calling it again on the same folder
# resumes it.

# %%
import tempfile

workdir = pathlib.Path(tempfile.mkdtemp())
NAME = "my_sweep.py"  # the file that would contain the sweep
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
# Check from which bias on the marks are remembered, how soon, and whether the coupled gate needs another bias. One seed
# shows what can happen. To make a claim, use several, such as `seeds = (0, 1, 2)`; the figure then shows a band over
# the seeds.

# %%
draw(sweep, rows, workdir / "figure.png")
Image(workdir / "figure.png")

# %% [markdown]
# To keep the sweep, put it into a file with a function `get_sweep(variant="")` that returns it. The two commands below
# the table then run it, also on several machines (`--shard=1/4`), and resume it when interrupted.
