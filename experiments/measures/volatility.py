"""Forecasts of volatility over the test days, against the GARCH models of the package `arch`."""

import math
from typing import Any

import jax
import numpy as np

from experiments.sweeping.measured import MEASURES, Curve, Measured
from xlstm_jax.console import plain_console
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.volatility import Volatility
from xlstm_jax.train.build import Parts

PEERS = {"GARCH(1,1)": 0, "GJR-GARCH(1,1)": 1}  # number of terms for negative returns


@MEASURES.register("volatility")
def volatility(parts: Parts, params: Any) -> Measured:
    """Forecasts in percent a year on each test day, of the model and of `arch`, each with its mean QLIKE.

    The models of `arch` are fitted to the training days, and then give one-step forecasts with fixed parameters. The
    difference of the model's QLIKE to theirs comes with its standard error over days: forecasts one step ahead have
    errors that do not overlap (Diebold & Mariano 1995). They are left out if `arch` is not installed.
    """
    task = parts.task
    if not isinstance(task, Volatility):
        raise UsageError("the measure volatility is for runs of configs/volatility.py")
    part = task.parts["test"]
    ours_N = forecasts(parts, params)
    loss_N = qlike(task, ours_N)
    found = {f"model, QLIKE {loss_N.mean():.4f}": ours_N}
    for name, log_S in peer_forecasts(task).items():
        difference_N = loss_N - qlike(task, log_S[part])
        error = difference_N.std(ddof=1) / math.sqrt(len(difference_N))
        about = f"{name} of arch, QLIKE {loss_N.mean() - difference_N.mean():.4f}"
        found[f"{about} (model: {difference_N.mean():+.4f} ± {error:.4f})"] = log_S[part]
    days = task.days_S[part]
    years = days.astype("datetime64[Y]")
    years_N = 1970 + years.astype(int) + (days - years.astype("datetime64[D]")).astype(int) / 365.25
    scale = math.sqrt(task.config.days_per_year)
    curves = [
        Curve(name, years_N.tolist(), (scale * task.codec.daily_percent(log_N)).tolist())
        for name, log_N in found.items()
    ]
    return Measured("year", "volatility, % a year", curves, log=("y",))


def forecasts(parts: Parts, params: Any) -> np.ndarray:
    """The model's outputs for the test days in order, [days]."""
    task, found = parts.task, []
    run = jax.jit(lambda params, inputs: parts.model(params).unroll(inputs)[0][..., 0])
    for batch in task.batches("test"):
        found.append(np.asarray(run(params, batch.inputs_BT), np.float64)[batch.mask_BT])
    return np.concatenate(found)


def qlike(task: Volatility, log_N: np.ndarray) -> np.ndarray:
    """r^2 / s^2 + log(s^2) of each test day."""
    square_N = task.codec.variances(task.prices.prices_NP)[1:][task.parts["test"], 0]
    return square_N * np.exp(-log_N) + log_N


def peer_forecasts(task: Volatility) -> dict[str, np.ndarray]:
    """log(s^2) after each step [S], of each of `PEERS` fitted to the training days; empty without `arch`."""
    try:
        from arch import arch_model
    except ImportError as error:
        plain_console(stderr=True).print(f"compared with no other package: {error}; pip install -e '.[tasks]'")
        return {}
    returns_N = task.codec.features(task.prices.prices_NP)[:, 0].astype(np.float64)
    known, found = task.parts["train"].stop + 1, {}
    for name, negative in PEERS.items():
        options = {"mean": "Zero", "vol": "GARCH", "p": 1, "o": negative, "q": 1, "rescale": False}
        fitted = arch_model(returns_N[:known], **options).fit(disp="off")
        # Its filter starts from a mean of the first 75 squared returns, all training days.
        volatility_N = arch_model(returns_N, **options).fix(fitted.params).conditional_volatility
        found[name] = 2 * np.log(np.asarray(volatility_N)[1:])
    return found
