"""Parts of a data set: a part for validation, where there is none."""

from typing import TypeVar

from xlstm_jax.data.batches import generator
from xlstm_jax.errors import UsageError

Example = TypeVar("Example")


def with_validation(parts: dict[str, list[Example]], share: float) -> dict[str, list[Example]]:
    """The parts; if none is "validation", one that is cut from "train". Always the same, in the order of the data.

    Args:
        parts: "train" and perhaps others.
        share: of "train", at least one example.

    Raises:
        UsageError: the share is 0, or there are too few examples to train on.
    """
    if "validation" in parts:
        return parts
    train = parts["train"]
    count = max(1, round(share * len(train)))
    if not share or count >= len(train):
        raise UsageError(
            f"data.validation {share:g} does not fit {len(train)} training examples: these data have no part for "
            "validation; give a share such as 0.1, or a file for validation"
        )
    order_N = generator(0, 0).permutation(len(train))
    kept, cut = ([train[n] for n in sorted(index.tolist())] for index in (order_N[count:], order_N[:count]))
    return {"train": kept, "validation": cut} | {name: part for name, part in parts.items() if name != "train"}
