"""The codec of labelled series: channels, their scaling, names of the classes, the length of all; and their figure."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from xlstm_jax.data.codecs import Labels, Numbers
from xlstm_jax.data.parts import class_names
from xlstm_jax.data.series.classes import nucleotides
from xlstm_jax.data.series.classes.labelled import LabelledSeries, Part, check_series
from xlstm_jax.data.series.scaling import Scaling
from xlstm_jax.data.series.table import read_csv
from xlstm_jax.errors import UsageError, shown

MOST_STEPS = 10_000  # of an example to predict
MOST_NAMED = 8  # channels of a legend


class LabelledCodec:
    """Series to standardised numbers, classes to names.

    Args:
        scaling: names of the channels, with their means and deviations.
        labels: names of the classes.
        steps: of every series; 0 if lengths vary.
    """

    kind = "labelled series"

    def __init__(self, scaling: Scaling, labels: Labels, steps: int):
        self.scaling, self.labels, self.steps = scaling, labels, steps

    @classmethod
    def of(cls, data: LabelledSeries) -> Self:
        """Statistics and classes of the part "train"; the length that the series of all parts share."""
        train = data.parts["train"]
        lengths = {len(series) for part in data.parts.values() for series in part.series}
        names = Labels.of(class_names(train.labels))
        return cls(_scaling(data.channels, train), names, lengths.pop() if len(lengths) == 1 else 0)

    def to_json(self) -> dict[str, Any]:
        parts = {"scaling": self.scaling.to_json(), "labels": self.labels.to_json()}
        return {"kind": self.kind, "steps": self.steps, **parts}

    @classmethod
    def from_json(cls, data: Any) -> Self:
        if not isinstance(data, dict) or data.get("kind") != cls.kind or type(data.get("steps")) is not int:
            raise UsageError(f"the codec is damaged; kind {cls.kind!r} needs scaling, labels, and steps, an integer")
        return cls(Scaling.from_json(data.get("scaling")), Labels.from_json(data.get("labels")), data["steps"])

    def encode(self, text: str) -> np.ndarray:
        """One series [T, C], not standardised, from a user's input.

        The input is the path of a CSV file with the channels' names, numbers separated by spaces or commas, a JSON list
        of the numbers of each step, or, where the channels are nucleotides, their letters.

        Raises:
            UsageError: the input is none of these, a value is missing, or the series has another length than those that
                the model was trained on.
        """
        text, names = text.strip(), self.scaling.names
        if text.lower().endswith((".csv", ".tsv", ".txt")):
            values_TC = read_csv(Path(text).expanduser(), columns=names).values_NC
        elif names == nucleotides.BASES and text.isalpha():
            values_TC = nucleotides.encode(text, "the input")
        else:
            values_TC = Numbers(len(names)).encode(text)
        check_series(values_TC, "the input")
        if self.steps and len(values_TC) != self.steps:
            raise UsageError(
                f"the input has {len(values_TC)} steps; give {self.steps}, as all series of the training data have"
            )
        if len(values_TC) > MOST_STEPS:
            raise UsageError(f"the input has {len(values_TC)} steps; give at most {MOST_STEPS}")
        return values_TC

    def decode(self, series_TC: np.ndarray) -> str:
        """A standardised series as a JSON list."""
        return json.dumps(self.scaling.restored(series_TC).tolist())

    def numbers(self, name: str, labels: np.ndarray) -> np.ndarray:
        """[N] numbers of the classes of a part; raises `UsageError` for one that the training data lack."""
        numbers = {label: number for number, label in enumerate(self.labels.names)}
        if unknown := [label for label in labels if label not in numbers]:
            raise UsageError(
                f"class {shown(str(unknown[0]))} of the part for {name} is none of the training data's: "
                f"{shown(', '.join(numbers), 200)}; correct it"
            )
        return np.array([numbers[label] for label in labels], np.int32)


def _scaling(channels: tuple[str, ...], train: Part) -> Scaling:
    if not isinstance(train.series, np.ndarray):
        return Scaling.of(channels, np.concatenate(train.series))
    if train.series.dtype != np.uint8:
        return Scaling.of(channels, train.series.reshape(-1, len(channels)))
    # Of bytes it is enough to count each value: as float64 the images of MNIST would fill 340 MB, several times.
    counts_CV = np.stack([np.bincount(train.series[..., c].ravel(), minlength=256) for c in range(len(channels))])
    share_CV, value_V = counts_CV / counts_CV.sum(axis=1, keepdims=True), np.arange(256)
    mean_C = share_CV @ value_V
    return Scaling(channels, mean_C, np.sqrt(share_CV @ value_V**2 - mean_C**2))


def draw(axes: Any, values_TC: np.ndarray, names: Sequence[str], answer: dict[str, Any], *, side: int = 0) -> None:
    """A series as it was given, and the class in an answer, on Matplotlib axes.

    Args:
        axes: to draw on.
        values_TC: the series.
        names: of the channels.
        answer: with "label" and "probabilities".
        side: if not 0, the series is the pixels of an image with that many rows.
    """
    share = answer["probabilities"][answer["label"]]
    axes.set_xlabel(f"class {answer['label']}, probability {share:.2f}")
    if side:
        axes.imshow(values_TC.reshape(side, side), cmap="gray_r")
        return
    for name, values_T in zip(names, values_TC.T, strict=True):
        axes.plot(values_T, lw=1, label=name)
    axes.grid(alpha=0.3)
    if 1 < values_TC.shape[1] <= MOST_NAMED:
        axes.legend(frameon=False, fontsize=7, ncols=2)
