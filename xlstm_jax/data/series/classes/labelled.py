"""Whole series with a class each: what all readers give, and how parts are cut from it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from xlstm_jax.data.batches import generator
from xlstm_jax.errors import UsageError, shown

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


def class_names(labels: Sequence[str]) -> list[str]:
    """The different labels in order, by value if all are numbers."""
    names = sorted({str(label) for label in labels})
    try:
        return sorted(names, key=float)
    except ValueError:
        return names


def with_cut(parts: dict[str, Part], name: str, share: float) -> dict[str, Part]:
    """The parts with a new one, `name`: that share of each class of "train", at least one series. Always the same.

    Raises:
        UsageError: the share is 0, or a class of "train" has only one series.
    """
    train = parts["train"]
    if not share:
        raise UsageError(f"data.{name} 0 is not allowed: these data have no part for {name}; give a share such as 0.1")
    rng, taken_N = generator(0, sorted(("test", "validation")).index(name)), np.zeros(len(train.labels), bool)
    for label in class_names(train.labels):
        rows_N = np.flatnonzero(train.labels == label)
        if len(rows_N) < 2:
            raise UsageError(
                f"class {shown(str(label))} has too few series to cut one for {name}; give 3 or more of each class, or "
                "a folder with a file for each part"
            )
        count = min(max(1, round(share * len(rows_N))), len(rows_N) - 1)
        taken_N[rng.permutation(rows_N)[:count]] = True
    kept = {"train": train.chosen(np.flatnonzero(~taken_N)), name: train.chosen(np.flatnonzero(taken_N))}
    return parts | kept
