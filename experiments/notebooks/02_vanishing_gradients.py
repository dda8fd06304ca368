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
# How much of the gradient from the end of a sequence comes back over a lag, $\|\partial y_T / \partial x_t\|_F$ against
# $T - t$, for the RNN, the 1997 LSTM, the LSTM with three forget biases, the GRU, the sLSTM and the mLSTM. Once as they
# start, and once when they have learned to add two numbers that stand far apart.

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
# The runs are those of `experiments/sweeps/vanishing_gradient.py`, shorter: one layer of each cell on the adding
# problem of Hochreiter & Schmidhuber 1997. Two numbers are marked among the steps of a row, and at its end the answer
# is their sum, scaled.

# %% tags=["parameters"]
steps = 500
length = 55  # of the longest rows; the shortest have a tenth less
features = 32
learning_rate = 3e-3
seed = 0
cells = ()  # some of the sweep's, by name, such as ("RNN", "GRU"); none: all

# %% [markdown]
# ## Train and measure
#
# The sweep names the cells and what is changed for each. `gradient_by_lag` takes the derivative through the layer, by
# all paths, as a root mean square over rows of the validation split. One line is printed for each cell. Who always
# answers 0.5 has the squared error of the last line; a cell that is still there has learned nothing.

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
    run, params, _ = saved.load(workdir, "latest")
    before[cell], after[cell] = MEASURES.get("gradient_by_lag")(run, params).curves
    print(f"{cell}: squared error {read_metrics(workdir)[-1]['validation/loss']:.4f}")
print(f"always 0.5: squared error {run.task.loss_at_chance - 0.25:.4f}")

# %% [markdown]
# ## Before and after
#
# On the logarithmic scale a straight line is a gradient that shrinks by the same factor at every step. Look at the left
# panel first:
#
# - The RNN's gradient falls along such a line all the way.
# - The 1997 LSTM, without a forget gate, and the LSTM with a forget bias of 5, whose gates start near
#   $\sigma(5) = 0.993$, lose some of it at once and keep the rest.
# - With a forget bias of 0 or 1 the gates start near 0.5 or 0.73, and the gradient falls with the lag; less steeply far
#   back, where what is left has come through the gates that were most open.
# - The forget biases of the sLSTM and the mLSTM start spread out: some features or heads hold on to it.
#
# Then, in the right panel, at which of them came up in training, and compare with the errors above: a gradient that
# does not arrive teaches nothing.

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
# Longer rows, more steps and three seeds:
#
# ```sh
# python -m experiments.sweep --sweep=experiments/sweeps/vanishing_gradient.py --workdir=/tmp/gradients --num_workers=2
# python -m experiments.report --workdir=/tmp/gradients
# ```
