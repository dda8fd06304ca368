"""Days of training, validation and testing, in the order of time."""

import numpy as np

from xlstm_jax.errors import UsageError, shown

SPLITS = ("train", "validation", "test")
INDEX_LAST_DAYS = "2011-12-31,2014-12-31"  # of training and validation, for the indices
SHARES = (0.7, 0.85)  # of other data: up to where days are for training, and for validation


def parts(days_S: np.ndarray, last_days: str, least: int) -> dict[str, slice]:
    """The steps of each split.

    Args:
        days_S: datetime64[D], increasing.
        last_days: last days of training and of validation, with a comma between them; "": after 70% and 85%.
        least: days that the training part needs.

    Raises:
        UsageError: the last days are not two dates in order, or a part is too short.
    """
    if last_days:
        ends = [int(np.searchsorted(days_S, day, side="right")) for day in _dates(last_days)]
    else:
        ends = [round(share * len(days_S)) for share in SHARES]
    found = dict(zip(SPLITS, map(slice, [0, *ends], [*ends, len(days_S)]), strict=True))
    for name, part in found.items():
        needed = least if name == "train" else 2
        if part.stop - part.start < needed:
            raise UsageError(
                f"split {name!r} has {part.stop - part.start} days, and needs at least {needed}; change "
                "data.last_days or data.sequence_length, or give more days"
            )
    return found


def _dates(text: str) -> list[np.datetime64]:
    try:
        days = [np.datetime64(part.strip(), "D") for part in text.split(",")]
    except ValueError:
        days = []
    if len(days) != 2 or not days[0] < days[1]:
        raise UsageError(
            f"data.last_days {shown(text)} is not allowed; give the last day of training and that of validation, such "
            "as 2011-12-31,2014-12-31"
        )
    return days
