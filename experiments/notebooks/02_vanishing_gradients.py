# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Vanishing gradients
#
# How much of the gradient from the end of a sequence reaches earlier steps? This notebook plots
# $\|\partial y_T / \partial x_t\|_F$ against the lag $T - t$ for the RNN, the 1997 LSTM, the LSTM with three forget
# biases, the GRU, the sLSTM and the mLSTM: once at initialisation, and once after training to add two numbers that are
# far apart.

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
# The runs are shorter versions of those in `experiments/sweeps/vanishing_gradient.py`: one layer of each cell on the
# adding problem of Hochreiter & Schmidhuber 1997. Two numbers in each row are marked, and the target at the end of the
# row is their scaled sum.

# %% tags=["parameters"]
steps = 500
length = 55  # of the longest rows; the shortest are a tenth shorter
features = 32
learning_rate = 3e-3
seed = 0
cells = ()  # a subset of the sweep's cells by name, such as ("RNN", "GRU"); empty for all

# %% [markdown]
# ## Train and measure
#
# The sweep defines the cells and the config changes for each. `gradient_by_lag` computes the derivative through the
# layer, over all paths, as a root mean square over rows of the validation split. The code prints one line for
# each model. The last line is the squared error of always answering 0.5; a model with that error has learned nothing.

# %%
import tempfile

from IPython.utils.io import capture_output

from configs import adding
from experiments.programs import cli
from experiments.sweeping.measured import MEASURES
from experiments.sweeps.vanishing_gradient import get_sweep
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

cli.start_jax()
sweep, before, after = get_sweep("tiny"), {}, {}
for point in sweep.points:
    cell = point.labels["cell"]
    if cells and cell not in cells:
        continue
    config = adding.get_config("lstm")
    config.update_from_flattened_dict({**sweep.changes, **point.changes})
    config.seed, config.model.features, config.data.sequence_length = seed, features, length
    config.optimizer.learning_rate = learning_rate
    config.train.steps = config.train.eval_every = steps
    workdir = tempfile.mkdtemp()
    with capture_output():
        train(config, workdir)
    parts, params, _ = saved.load(workdir, "latest")
    before[cell], after[cell] = MEASURES.get("gradient_by_lag")(parts, params).curves
    print(f"{cell}: squared error {read_metrics(workdir)[-1]['validation/loss']:.4f}")
print(f"always 0.5: squared error {parts.task.loss_at_chance - 0.25:.4f}")

# %% [markdown]
# ## Before and after
#
# On the logarithmic scale a straight line means that the gradient shrinks by the same factor at every step. Look at the
# left panel first:
#
# - The RNN's gradient falls along such a line all the way.
# - The 1997 LSTM, without a forget gate, and the LSTM with a forget bias of 5, whose gates start near
#   $\sigma(5) = 0.993$, lose part of the gradient at once and keep the rest.
# - With a forget bias of 0 or 1 the gates start near 0.5 or 0.73, and the gradient falls with the lag. It falls less
#   steeply at long lags, where the remaining gradient has come through the most open gates.
# - The forget biases of the sLSTM and the mLSTM start spread over a range, so some features or heads keep the gradient.
#
# Then check in the right panel which gradients grew in training, and compare with the errors above: a cell cannot learn
# from a gradient that does not arrive.

# %%
import matplotlib.pyplot as plt
import numpy as np

plt.rcParams["font.size"] = 12
figure, axes = plt.subplots(1, 2, figsize=(12.5, 5.2), sharey=True, layout="constrained")
for axis, curves, title in zip(axes, (before, after), ("before training", f"after {steps} steps"), strict=True):
    for number, (cell, curve) in enumerate(curves.items()):
        y = np.where(np.array(curve.y) > 0, curve.y, np.nan)
        axis.plot(curve.x, y, color=f"C{number}", lw=1.8, label=cell)
    axis.set(yscale="log", xlabel="lag $T - t$, steps", title=title)
    axis.grid(alpha=0.3)
axes[0].set_ylim(bottom=1e-8)
axes[0].set_ylabel(r"$\|\partial y_T / \partial x_t\|_F$")
figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right center", frameon=False)
plt.show()

# %% [markdown]
# ## The whole experiment
#
# The full sweep has longer rows, more steps and three seeds:
#
# ```sh
# python -m experiments.sweep --sweep=experiments/sweeps/vanishing_gradient.py --workdir=/tmp/gradients --num_workers=2
# python -m experiments.report --workdir=/tmp/gradients
# ```
