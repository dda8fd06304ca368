"""Parts of a data set: a part for validation or testing, where there is none."""

from typing import TypeVar

from xlstm_jax.data.batches import generator
from xlstm_jax.errors import UsageError

Example = TypeVar("Example")
NAMES = ("validation", "test")


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
    order_N = generator(0, NAMES.index(name)).permutation(len(train))
    kept, cut = ([train[n] for n in sorted(index.tolist())] for index in (order_N[count:], order_N[:count]))
    return {"train": kept, name: cut} | {other: part for other, part in parts.items() if other != "train"}
