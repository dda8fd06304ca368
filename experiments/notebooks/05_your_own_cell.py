# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # A cell of your own
#
# This notebook writes and registers the JANET, a published cell that the registry lacks. It shows the equations, runs
# the checks that every cell of the project passes, and trains the cell alongside the LSTM.

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
length = 110  # steps of the longest rows
steps = 700  # of training
features = 32
seed = 0

# %% [markdown]
# ## The equations
#
# Van der Westhuizen & Lasenby 2018 (arXiv 1804.04849) keep only the forget gate of the LSTM. With $\beta = 1$ slightly
# more is written than forgotten:
#
# $$s_t = x_t W_s + h_{t-1} U_s + b_s \qquad n_t = \tanh(x_t W_n + h_{t-1} U_n + b_n)$$
# $$h_t = \sigma(s_t)\, h_{t-1} + \bigl(1 - \sigma(s_t - \beta)\bigr)\, n_t$$
#
# The biases $b_s$ are initialised to $\log u$, with $u$ uniform between 1 and $T_{max} - 1$ (the chrono initialisation
# of Tallec & Ollivier 2018), so the units forget at all rates up to the longest lag.
#
# A cell defines its initialisation and one step. `project` computes the products with $x$ for all steps at once before
# the scan, and `recur` computes the products with $h$ at the beginning of the step. Both are inherited from
# `SplitCell`, which leaves `update`, the rest of the step, to the cell. `u` and `v` are the two products, with both
# pre-activations concatenated.

# %%
import dataclasses

import jax
import jax.numpy as jnp

from xlstm_jax.cells import CELLS, CellParams
from xlstm_jax.cells.base import HiddenCarry, RecurrentConfig, SplitCell, gate_weights


@dataclasses.dataclass(frozen=True)
class JANETConfig(RecurrentConfig):
    beta: float = 1.0
    longest: int = length  # T_max


@CELLS.register("janet")
class JANET(SplitCell):
    """LSTM with only a forget gate (arXiv 1804.04849, section 3). Order s, n along w_x [D, 2F], w_h [F, 2F], b [2F]."""

    additive = True  # `update` uses only the sum of u and v
    Config = JANETConfig
    init_carry = HiddenCarry.zeros

    @staticmethod
    def init(key, config):
        key, key_b = jax.random.split(key)
        weights = gate_weights(key, config, gates=2)
        if config.bias:
            u = jax.random.uniform(key_b, (config.features,), jnp.float32, 1, config.longest - 1)
            weights["b"] = weights["b"].at[: config.features].set(jnp.log(u))
        return CellParams(config, weights)

    @staticmethod
    def update(inner, carry, u, v):
        s, n = jnp.split(u.astype(carry.h.dtype) + v, 2, axis=-1)
        h = jax.nn.sigmoid(s) * carry.h + jax.nn.sigmoid(inner.config.beta - s) * jnp.tanh(n)
        return HiddenCarry(h), h


# %% [markdown]
# ## The checks
#
# `xlstm_jax.testing` contains the checks that the project's own tests run over the registry, in float64 at small sizes.
# A check raises if it fails.

# %%
from xlstm_jax.testing.cells import CHECKS
from xlstm_jax.testing.examples import examples_of

for example in examples_of("janet"):
    print(f"\n{example}: {example.config}")
    for check in CHECKS:
        check(example)
        print(f"  {check.__name__:35} {check.__doc__.splitlines()[0]}")

# %% [markdown]
# The checks cannot compare the cell with the paper. The code below does: it implements the equations again in NumPy,
# step by step.

# %%
import numpy as np

from xlstm_jax.ops.recurrence import recurrence


def janet(weights, x_BTD, beta=1.0):
    h, ys = np.zeros((len(x_BTD), weights["w_h"].shape[0])), []
    for x in np.moveaxis(x_BTD, 1, 0):
        s, n = np.split(x @ weights["w_x"] + h @ weights["w_h"] + weights["b"], 2, axis=-1)
        h = h / (1 + np.exp(-s)) + (1 - 1 / (1 + np.exp(beta - s))) * np.tanh(n)
        ys.append(h)
    return np.stack(ys, axis=1)


with jax.enable_x64(True):
    example = examples_of("janet")[0]
    params, x = example.params(np.float64), example.inputs(20, np.float64)
    y, _ = recurrence(JANET, params, x)
    wanted = janet({name: np.asarray(weight) for name, weight in params.items()}, np.asarray(x))
assert np.abs(np.asarray(y) - wanted).max() < 1e-12

# %% [markdown]
# ## Training
#
# Once registered, the cell's name is a valid value of `model.recurrent.cell`. Here two layers learn temporal order
# (`configs/temporal_order.py`): each row has two marks far apart, and its class is their order. For comparison, two
# LSTMs are trained: one with a forget bias of 1, and one with the logarithm of half the length, which is the bias of
# the middle unit in chrono initialisation.

# %%
import tempfile

from configs import temporal_order
from experiments.programs.cli import start_jax
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir.metrics import read_metrics

start_jax()  # keep compiled programs between runs
models = {"JANET": ("janet", ""), "LSTM, bias 1": ("lstm", "forget_bias=1")}
models[f"LSTM, bias {np.log(length / 2):.1f}"] = ("lstm", f"forget_bias={np.log(length / 2)}")
records = {}
for name, (cell, options) in models.items():
    config = temporal_order.get_config("lstm")
    config.seed = seed
    config.data.sequence_length, config.data.long_length = length, 0
    config.model.features = features
    config.model.recurrent.cell, config.model.recurrent.options = cell, options
    config.train.steps, config.train.eval_every = steps, max(steps // 7, 1)
    workdir = tempfile.mkdtemp()
    train(config, workdir)
    records[name] = read_metrics(workdir)

# %% [markdown]
# Check which of them fall below the level of guessing, $\log 4$, and when. Note that the JANET has half the weights.

# %%
import matplotlib.pyplot as plt

plt.rcParams.update({"font.size": 11, "axes.grid": True, "grid.alpha": 0.3})
figure, axes = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
for name, lines in records.items():
    for panel, metric in zip(axes, ("train/loss", "validation/accuracy"), strict=True):
        known = [(line["step"], line[metric]) for line in lines if metric in line]
        label = f"{name}: {lines[0]['model/parameters']:,} parameters"
        panel.plot(*zip(*known, strict=True), label=label, marker="o" if metric.startswith("validation") else "")
axes[0].axhline(np.log(4), color="black", ls="--", lw=1)
axes[1].axhline(1 / 4, color="black", ls="--", lw=1, label="chance level")
axes[0].set(xlabel="step", ylabel="training loss, nats per row", ylim=(0, None))
axes[1].set(xlabel="step", ylabel="validation: share of rows correct", ylim=(0, 1.05))
figure.legend(*axes[1].get_legend_handles_labels(), loc="outside lower center", ncols=2, frameon=False)
plt.show()

# %% [markdown]
# ## Add it to the project
#
# Move the cell to `xlstm_jax/cells/janet.py`. The command line
# (`--config.model.pattern=rr --config.model.recurrent.cell=janet`), the sweeps and the tests then find it
# automatically. The tests require the equations in NumPy (`janet` above) in `tests/oracles`, and the number of weights.
