"""Parts of a data set: their files, parts that are cut where there are none, and the folds of a cross-validation."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import numpy as np

from xlstm_jax.data.batches import generator
from xlstm_jax.errors import UsageError, shown

PARTS = ("train", "validation", "test")
VALIDATION = 10  # parts of what a fold leaves for training, of which one is for validation
Example = TypeVar("Example")


def part_files(root: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """The file of each part that a folder has. Their names are train, validation, test, or end in _TRAIN and so on.

    Raises:
        UsageError: there are two files for one part.
    """
    files: dict[str, Path] = {}
    for file in sorted(root.iterdir()):
        part = file.stem.lower().rpartition("_")[2]
        if file.suffix.lower() in suffixes and part in PARTS:
            if part in files:
                raise UsageError(f"{str(root)!r} has {files[part].name} and {file.name}; give one file for {part}")
            files[part] = file
    return {part: files[part] for part in PARTS if part in files}


def with_validation(parts: dict[str, list[Example]], share: float) -> dict[str, list[Example]]:
    """`with_part` for "validation"."""
    return with_part(parts, "validation", share)


def with_part(parts: dict[str, list[Example]], name: str, share: float) -> dict[str, list[Example]]:
    """The parts; if `name` is not one, it is cut from "train". Always the same, in the order of the data.

    Args:
        parts: "train" and perhaps others.
        name: "validation" or "test".
        share: of "train", at least one example.

    Raises:
        UsageError: the share is 0, or there are too few examples to train on.
    """
    if name in parts:
        return parts
    train = parts["train"]
    count = max(1, round(share * len(train)))
    if not share or count >= len(train):
        raise UsageError(
            f"data.{name} {share:g} does not fit {len(train)} training examples: these data have no part for "
            f"{name}; give a share such as 0.1, or a file for {name}"
        )
    order_N = generator(0, PARTS.index(name) - 1).permutation(len(train))
    kept, cut = ([train[n] for n in sorted(index.tolist())] for index in (order_N[count:], order_N[:count]))
    return {"train": kept, name: cut} | {other: part for other, part in parts.items() if other != "train"}


def class_names(labels: Sequence[str]) -> list[str]:
    """The different labels in order, by value if all are numbers."""
    names = sorted({str(label) for label in labels})
    try:
        return sorted(names, key=float)
    except ValueError:
        return names


def cut_by_class(labels: Sequence[str], name: str, share: float, things: str) -> np.ndarray:
    """Which rows of the training part become the part `name`: [N], bools. Always the same.

    Args:
        labels: of the training part.
        name: "validation" or "test".
        share: of each class, at least one row; one at least is left.
        things: what a row is, for messages, such as "texts".

    Raises:
        UsageError: the share is 0, or a class has only one row.
    """
    if not share:
        raise UsageError(f"data.{name} 0 is not allowed: these data have no part for {name}; give a share such as 0.1")
    label_N = np.asarray(labels)
    rng, taken_N = generator(0, sorted(("test", "validation")).index(name)), np.zeros(len(label_N), bool)
    for label in class_names(labels):
        rows_N = np.flatnonzero(label_N == label)
        if len(rows_N) < 2:
            raise UsageError(
                f"class {shown(str(label))} has too few {things} to cut one for {name}; give 3 or more of each class, "
                "or a folder with a file for each part"
            )
        count = min(max(1, round(share * len(rows_N))), len(rows_N) - 1)
        taken_N[rng.permutation(rows_N)[:count]] = True
    return taken_N


def fold_of(label_N: np.ndarray, fold: int, folds: int) -> dict[str, np.ndarray]:
    """Numbers of the rows in each split of one fold of a cross-validation: "train", "validation" and "test".

    The test split is one of `folds` parts of all rows, and the validation split a tenth of the others. All have the
    same shares of the classes, up to rounding. They are the same in every run, and each row is tested in one fold.

    Args:
        label_N: classes of the rows, from 0.
        fold: which one, from 0.
        folds: their number.
    """
    place_N = np.zeros(len(label_N), np.int64)
    for label in np.unique(label_N):
        members = np.flatnonzero(label_N == label)
        place_N[generator(0, int(label)).permutation(members)] = np.arange(len(members))
    test_N = place_N % folds == fold
    validation_N = ~test_N & (place_N // folds % VALIDATION == 0)
    parts = {"train": ~test_N & ~validation_N, "validation": validation_N, "test": test_N}
    return {name: np.flatnonzero(part) for name, part in parts.items()}
