# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # What the gates do
#
# This notebook trains one layer each of the LSTM, the sLSTM and the mLSTM on Tiny Shakespeare for a short time. Each
# one then reads a sentence, and its forget, input and output gates are plotted, character by character.

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

# %% tags=["parameters"]
steps = 400
features = 64
learning_rate = 5e-3
sentence = "ROMEO:\nBut, soft! what light through yonder window breaks?\n"
seed = 0

# %% [markdown]
# ## Train
#
# Each run uses `configs/char_lm.py:lstm` with one layer (`r`) instead of two. Only the cell differs.

# %%
import tempfile

from IPython.utils.io import capture_output

from configs import char_lm
from experiments.programs import cli
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

cli.start_jax()
trained = {}
for cell in ("lstm", "slstm", "mlstm"):
    config = char_lm.get_config("lstm")
    config.seed, config.model.features, config.optimizer.learning_rate = seed, features, learning_rate
    config.model.pattern, config.model.recurrent.cell = "r", cell
    config.train.steps = config.train.eval_every = steps
    config.sample.length = 0
    workdir = tempfile.mkdtemp()
    with capture_output():
        train(config, workdir)
    trained[cell] = saved.load(workdir)
    print(f"{cell}: validation loss {read_metrics(workdir)[-1]['validation/loss']:.3f} nats per character")

# %% [markdown]
# ## Gates from the cells' own functions
#
# A gate is computed from a linear map of the step's input and, except in the mLSTM, a linear map of the layer's
# previous output, as in $\tilde f_t = W_f x_t + R_f\, y_{t-1} + b_f$. A cell's `project` computes the first for all
# steps at once, and `recur` computes the second.
#
# - LSTM: $c_t = \sigma(\tilde f_t)\, c_{t-1} + \sigma(\tilde i_t) \tanh \tilde z_t$ and
#   $y_t = \sigma(\tilde o_t) \tanh c_t$: all gates are between 0 and 1.
# - sLSTM: the input gate is $e^{\tilde i_t}$, any positive number. The cell state is divided by $n_t$, the sum of the
#   input gates so far, each multiplied by the forget gates since. Only ratios of input gates matter, so the plot shows
#   the logarithm.
# - mLSTM: also has an exponential input gate, with one input and one forget gate per head.

# %%
import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.cells import CELLS, CellParams
from xlstm_jax.ops.recurrence import recurrence


def gates(name):
    """The gates over the sentence, each [1, T, ...]."""
    cell = CELLS.get(name)
    weights = trained[name].params["blocks"][0]["layer"]["layers"][0]
    params = CellParams(cell.Config(in_features=features, features=features), weights)
    x_BTD = trained[name].model.embedding(trained[name].parts.task.codec.encode(sentence)[None])
    projected = cell.project(params, x_BTD)
    if name == "mlstm":
        *_, log_i, log_f, o = projected
        return {"forget": jnp.exp(log_f), "log input": log_i, "output": o}
    y_BTF, _ = recurrence(cell, params, x_BTD)
    last_BTF = jnp.pad(y_BTF, ((0, 0), (1, 0), (0, 0)))[:, :-1]
    if name == "lstm":
        i, f, _, o = jnp.split(projected + cell.recur(params, last_BTF), 4, axis=-1)
        return {"forget": jax.nn.sigmoid(f), "input": jax.nn.sigmoid(i), "output": jax.nn.sigmoid(o)}
    last_BTHD = last_BTF.reshape(*last_BTF.shape[:2], params.config.num_heads, -1)
    i, f, _, o = jnp.moveaxis(projected + cell.recur(params, last_BTHD), 2, 0)
    return {"forget": jax.nn.sigmoid(f), "log input": i, "output": jax.nn.sigmoid(o)}


found = {
    label: {gate: np.asarray(values).reshape(len(sentence), -1).T for gate, values in gates(label.lower()).items()}
    for label in ("LSTM", "sLSTM", "mLSTM")
}

# %% [markdown]
# ## Over the sentence
#
# Each column is a character. Each row is a feature, sorted by its mean forget gate. For the mLSTM's forget and input
# gates each row is a head; the features of its output gate are not sorted. Check how many rows of each forget gate are
# yellow throughout, which means long memory. Also look for columns in which many rows change at once.

# %%
import matplotlib.pyplot as plt

for label, panels in found.items():
    figure, axes = plt.subplots(3, 1, figsize=(12, 8), sharex=True, layout="constrained")
    order = np.argsort(-panels["forget"].mean(axis=1))
    for axis, (gate, rows) in zip(axes, panels.items(), strict=True):
        rows = rows[order] if len(rows) == len(order) else rows
        bound = np.abs(rows).max()
        scale = {"cmap": "RdBu_r", "vmin": -bound, "vmax": bound} if "log" in gate else {"vmin": 0, "vmax": 1}
        image = axis.imshow(rows, aspect="auto", interpolation="nearest", **scale)
        figure.colorbar(image, ax=axis, pad=0.01).set_label(f"{gate} gate", fontsize=11)
        axis.set_ylabel("feature" if len(rows) == features else "head", fontsize=11)
        axis.set_yticks([0, len(rows) - 1], [1, len(rows)])
    axes[0].set_title(f"{label}: gates over a sentence")
    axes[2].set_xticks(range(len(sentence)), sentence.replace("\n", "↵").replace(" ", "␣"), fontsize=12)
    axes[2].set_xlabel("character read (↵ newline, ␣ space)", fontsize=11)
    plt.show()

# %% [markdown]
# ## How long a feature remembers
#
# With a forget gate of $f$, half of the state is left after $\ln 0.5 / \ln f$ steps. Here $\ln f$ is the mean over the
# sentence. The LSTM's forget bias is initialised to 1 for all features. The biases of the sLSTM and the mLSTM start
# spread over a range.

# %%
figure, axis = plt.subplots(figsize=(7.5, 4.5), layout="constrained")
for (label, panels), marker in zip(found.items(), "os^", strict=True):
    half_life = np.sort(np.log(0.5) / np.log(panels["forget"]).mean(axis=1))[::-1]
    axis.plot(np.linspace(0, 100, len(half_life)), half_life, marker=marker, ms=4, label=label)
axis.axhline(len(sentence), color="black", lw=1, ls="--", label="length of the sentence")
axis.set(yscale="log", xlabel="features (mLSTM: heads), longest memory first, %", ylabel="half-life, steps")
axis.grid(alpha=0.3)
axis.legend(frameon=False)
plt.show()
