# ---
# jupyter:
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # One model, several ways to run it
#
# This notebook runs the mLSTM step by step, in parallel, in chunks and with an associative scan. It shows that the
# results agree, and what each costs in time and memory as the sequence grows. Then it runs a GRU, which is not linear
# in its state, for all steps at once with Newton's method.

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
# Values are compared at length `steps`. Each form is timed `rounds` times at each of the `lengths`. The error of
# Newton's method is measured after each number of `iterations`.

# %% tags=["parameters"]
steps = 512
lengths = (256, 1024, 4096)
rounds = 5
iterations = (1, 2, 3, 4, 6, 9, 12)

# %%
import matplotlib.pyplot as plt
import numpy as np

from experiments.programs.cli import start_jax

start_jax()  # keep compiled programs between runs
import jax

jax.config.update("jax_default_matmul_precision", "highest")  # products in full float32, on a GPU too
plt.rcParams.update({"font.size": 11, "axes.grid": True, "grid.alpha": 0.3})

# %% [markdown]
# ## The same numbers
#
# The argument `implementation` of the op selects the form. With gates $f_t$ and $i_t$, and without the stabiliser,
#
# $$C_t = f_t C_{t-1} + i_t k_t v_t^\top \qquad n_t = f_t n_{t-1} + i_t k_t \qquad
# h_t = C_t^\top q_t \,/ \max(|n_t \cdot q_t|, 1)$$
#
# `recurrent` scans the cell and is the reference for the others. The state is linear in the previous state. Therefore
# all steps can be computed as one masked product of queries with keys (`parallel`), or as such products within chunks,
# with the states passed from chunk to chunk (`chunkwise`) or computed for several chunks at once (`associative`).

# %%
from experiments.benching.base import PASSES, compared, in_float64, relative_error
from xlstm_jax.ops.mlstm import mlstm

forms = ("recurrent", "parallel", "chunkwise", "associative")
runs = {name: lambda *args, name=name: mlstm(*args, implementation=name)[0] for name in forms}


def inputs(time, batch=2, heads=4, width=32):
    """The weights of h in the loss, then q, k, v and the gates' pre-activations i and f."""
    rng = np.random.default_rng(0)
    dh, q, k, v = rng.standard_normal((4, batch, time, heads, width), np.float32)
    i, f = rng.standard_normal((2, batch, time, heads), np.float32)
    return dh, q, k, v, i, f + 3


wanted = {which: in_float64(which, runs["recurrent"], inputs(steps)) for which in PASSES}
errors = {
    (bits, which): [relative_error(find(which, runs[name], inputs(steps)), wanted[which]) for name in forms]
    for bits, find in {"float64": in_float64, "float32": compared}.items()
    for which in PASSES
}
assert all(max(found) < (1e-11 if bits == "float64" else 1e-5) for (bits, _), found in errors.items())

# %% [markdown]
# In float64 the forms differ only by rounding: they are equal, not just close. In float32 all of them, including the
# recurrent one, have errors of about $10^{-7}$ to $10^{-6}$. `forward` compares outputs, `forward + backward` the
# gradient of $q$.

# %%
figure, axes = plt.subplots(figsize=(8.5, 3.2), layout="constrained")
for (bits, which), found in errors.items():
    style = {"color": {"float64": "C0", "float32": "C1"}[bits], "marker": "os"[PASSES.index(which)], "ms": 8}
    shown = [error or np.nan for error in found]  # the error of the reference itself is 0
    axes.plot(shown, forms, ls="", label=f"{bits}, {which}", **style)
axes.set(xscale="log", xlabel="||difference|| / ||recurrent form in float64||", title=f"mLSTM, T = {steps}")
axes.set_ylim(len(forms) - 0.5, -0.5)
figure.legend(loc="outside right upper", frameon=False)
plt.show()

# %% [markdown]
# ## What they cost
#
# The code below times forward and backward passes in turns, like `experiments.bench`. Memory is what the compiled
# program needs in addition to inputs and outputs. For the parallel form both grow with $T^2$. For the backward pass the
# recurrent form keeps the state of every step, and the chunked forms keep one state per chunk. The GRU, in the second
# column, has no such forms: its scan is compared with Newton's method, explained below.

# %%
import tempfile

from IPython.display import Image

from experiments.benching.base import jax_case
from experiments.benching.timing import measure
from experiments.programs.figures import draw
from xlstm_jax.cells import CELLS
from xlstm_jax.ops.recurrence import NewtonOptions, newton_recurrence, recurrence

gru = CELLS.get("gru")
params = gru.init(jax.random.key(0), gru.Config(in_features=16, features=32))
solvers = {name: lambda x, name=name: recurrence(gru, params, x, implementation=name)[0] for name in ("scan", "newton")}


def sequence(time):
    """The weights of y in the loss, and x."""
    rng = np.random.default_rng(0)
    return rng.standard_normal((1, time, 32), np.float32), rng.standard_normal((1, time, 16), np.float32)


cases = [
    jax_case(f"{model}, T {time:,}", name, run, given, which=PASSES[1], tokens=time, size=time)
    for model, forms, given in (("mLSTM", runs, inputs), ("GRU", solvers, sequence))
    for time in lengths
    for name, run in forms.items()
]
path = pathlib.Path(tempfile.mkdtemp()) / "modes.png"
draw(measure(cases, rounds), path)
Image(path)

# %% [markdown]
# ## A recurrence that is not linear
#
# A GRU's state passes through its gates, so the steps cannot be regrouped exactly. Newton's method guesses all states
# at once, linearises every step at the guess, and solves the resulting linear recurrence with an associative scan. It
# uses the full Jacobian (DEER, Lim et al. 2024) or only its diagonal (quasi-DEER, Gonzalez et al. 2024). Note how fast
# the error falls, and that the number of iterations hardly depends on $T$.

# %%
import functools
import logging

logging.getLogger("xlstm_jax").setLevel(logging.ERROR)  # no warnings for the runs stopped early on purpose


@functools.partial(jax.jit, static_argnames="options")
def newton(x, options):
    return newton_recurrence(gru, params, x, options=options)


styles = {"full": "o-", "diagonal": "s--"}
figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
x = sequence(steps)[1]
scanned = solvers["scan"](x)
for jacobian, style in styles.items():
    stopped = [NewtonOptions(tolerance=0.0, max_iterations=n, jacobian=jacobian) for n in iterations]
    errors = [relative_error(newton(x, options)[0], scanned) for options in stopped]
    left.semilogy(iterations, errors, style, label=f"{jacobian} Jacobian")
    reports = [newton(sequence(time)[1], NewtonOptions(jacobian=jacobian))[2] for time in lengths]
    assert all(report.converged for report in reports)
    right.plot(lengths, [report.iterations for report in reports], style)
left.set(xlabel="iteration", ylabel="||difference|| / ||scan||", title=f"GRU, T = {steps}, float32: error")
right.set(xlabel="steps T", ylabel="iterations", title="until no state changes by more than 1e-5")
right.set_xscale("log", base=2)
right.set_ylim(bottom=0)
left.legend(frameon=False)
plt.show()

# %% [markdown]
# On a few CPU cores Newton's method is no faster: an iteration could compute all steps in parallel, but there are not
# enough cores. For larger sizes, other libraries and the other ops, run
# `python -m experiments.bench --suite=mlstm --out=OUT`, and the suites `modes` and `newton`.
