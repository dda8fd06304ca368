"""Parses the pattern of a stack's blocks: letters, names with counts, or the xLSTM papers' ratio."""

import re

from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.base import BLOCKS

MOST_BLOCKS = 10_000


def parse_pattern(pattern: str, num_blocks: int = 0) -> tuple[str, ...]:
    """Returns the names of a stack's blocks in order.

    Args:
        pattern: one letter per block ("mms"), names with optional counts ("mlstm*7,slstm"), or both ("m*7,slstm");
            or "xLSTM[a:b]", the papers' notation: a mLSTM blocks, then b sLSTM blocks, repeated.
        num_blocks: for "xLSTM[a:b]", the total number of blocks, a multiple of a + b; 0: a + b. For other patterns,
            must be 0 or the number of blocks in the pattern.

    Raises:
        UsageError: a block is unknown, there are no blocks or too many, or `num_blocks` does not fit.
    """
    ratio = re.fullmatch(r"xLSTM\[(\d{1,9}):(\d{1,9})\]", pattern)
    if ratio is None:
        names = tuple(name for part in pattern.split(",") if pattern for name in _part(pattern, part.strip()))
        _check_depth(pattern, len(names))
        if num_blocks not in (0, len(names)):
            raise UsageError(
                f"model.num_blocks {num_blocks} does not fit model.pattern {pattern!r}, which has {len(names)} blocks; "
                "set it to 0, or use a pattern such as 'xLSTM[7:1]'"
            )
        return names
    sizes = int(ratio[1]), int(ratio[2])
    _check_depth(pattern, sum(sizes))
    repeats, rest = divmod(num_blocks or sum(sizes), sum(sizes))
    if rest:
        raise UsageError(f"model.num_blocks {num_blocks} must be a multiple of the {sum(sizes)} blocks of {pattern}")
    return repeats * (sizes[0] * ("mlstm",) + sizes[1] * ("slstm",))


def _part(pattern: str, part: str) -> tuple[str, ...]:
    """The blocks of one part between commas: a name or letters; "*7" repeats it seven times."""
    what, star, count = part.partition("*")
    if not what or (star and not re.fullmatch(r"[1-9]\d{0,8}", count)):
        raise UsageError(
            f"model.pattern {pattern!r}: {part!r} is not allowed; write letters such as 'mms', or names with counts "
            "such as 'mlstm*7,slstm'"
        )
    times = int(count) if star else 1
    _check_depth(pattern, times * len(what) if what not in BLOCKS.names() else times)
    return times * ((what,) if what in BLOCKS.names() else tuple(BLOCKS.name_of(letter) for letter in what))


def _check_depth(pattern: str, blocks: int) -> None:
    if not 0 < blocks <= MOST_BLOCKS:
        shown = pattern if len(pattern) <= 40 else f"{pattern[:37]}..."
        raise UsageError(
            f"model.pattern {shown!r} has {blocks} blocks; give between 1 and {MOST_BLOCKS}, such as 'ms' or "
            "'mlstm*7,slstm'"
        )
