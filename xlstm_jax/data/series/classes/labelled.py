"""Whole series with a class each: what all readers give, and how parts are cut from it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.parts import cut_by_class
from xlstm_jax.errors import UsageError

LEAST_STEPS = 2


class Part(NamedTuple):
    """Some series and their classes."""

    series: Sequence[np.ndarray]  # [T, C] each, or one array [N, T, C]; real numbers or uint8
    labels: np.ndarray  # [N], strings

    def chosen(self, index: np.ndarray) -> "Part":
        series = self.series[index] if isinstance(self.series, np.ndarray) else [self.series[n] for n in index]
        return Part(series, self.labels[index])


class LabelledSeries(NamedTuple):
    """A data set. Parts that it lacks can be cut from the one for training."""

    channels: tuple[str, ...]
    parts: dict[str, Part]  # "train", and perhaps "validation" and "test"


def check_series(values_TC: np.ndarray, where: str) -> None:
    """Raises `UsageError`, whose message begins with `where`, if a value is missing or the series says nothing."""
    if len(values_TC) < LEAST_STEPS:
        raise UsageError(f"{where} has {len(values_TC)} steps; a series has at least {LEAST_STEPS}")
    if not np.isfinite(values_TC).all():
        step = int(np.argmin(np.isfinite(values_TC).all(axis=1)))
        raise UsageError(f"{where} lacks a value at step {step + 1} of {len(values_TC)}; fill it in, or leave it out")
    if (values_TC == values_TC[0]).all():
        value = ", ".join(f"{value:g}" for value in values_TC[0, :3])
        raise UsageError(f"{where} is constant, always {value}; leave it out")


def with_cut(parts: dict[str, Part], name: str, share: float) -> dict[str, Part]:
    """The parts with a new one, `name`: that share of each class of "train", at least one series. Always the same.

    Raises:
        UsageError: the share is 0, or a class of "train" has only one series.
    """
    train = parts["train"]
    taken_N = cut_by_class(train.labels, name, share, "series")
    kept = {"train": train.chosen(np.flatnonzero(~taken_N)), name: train.chosen(np.flatnonzero(taken_N))}
    return parts | kept
