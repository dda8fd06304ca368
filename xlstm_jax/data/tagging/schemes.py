"""Tags of words in a sentence that mark spans, such as B-NP I-NP O.

IOB2: B begins a span and I continues it. IOBES: E ends a span of several words, and S is a span of one. O is outside.
"""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from xlstm_jax.errors import optional

Scheme = Literal["iob2", "iobes"]
OUTSIDE = "O"
Span = tuple[str, int, int]  # its type, its first word, its last word


def spans(tags: Sequence[str]) -> list[Span]:
    """The spans that tags of any scheme mark, as seqeval and the CoNLL script `conlleval` find them."""
    return optional("seqeval.metrics.sequence_labeling", "tags need", "seqeval").get_entities(list(tags))


def written(found: Sequence[Span], length: int, scheme: Scheme) -> list[str]:
    """The tags, in a scheme, of spans that do not overlap in a sentence of that many words."""
    tags = [OUTSIDE] * length
    for kind, first, last in found:
        letters = ["B"] + ["I"] * (last - first)
        if scheme == "iobes":
            letters = ["B", *["I"] * (last - first - 1), "E"] if last > first else ["S"]
        tags[first : last + 1] = [f"{letter}-{kind}" for letter in letters]
    return tags


def in_scheme(tags: Sequence[str], scheme: Scheme) -> list[str]:
    """The same spans in another scheme."""
    return written(spans(tags), len(tags), scheme)


def all_tags(kinds: Sequence[str], scheme: Scheme) -> list[str]:
    """Every tag of a scheme for the types of spans: O, then the types in order."""
    letters = "BI" if scheme == "iob2" else "BIES"
    return [OUTSIDE, *(f"{letter}-{kind}" for kind in kinds for letter in letters)]


def allowed(tags: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which tag may follow which [from, to], which may come first, and which last; bools.

    I and E continue a span of their own type; in IOBES, B and I must be continued.
    """
    closing = any(tag[0] in "ES" for tag in tags)
    left, right = [OUTSIDE, *tags], [*tags, OUTSIDE]  # a sentence begins and ends outside
    may = np.array([[_may_follow(a, b, closing) for b in right] for a in left])
    return may[1:, :-1], may[0, :-1], may[1:, -1]


def _may_follow(before: str, tag: str, closing: bool) -> bool:
    is_open = before[0] in ("BI" if closing else "BIES")
    continues = tag[0] in "IE" and is_open and before[1:] == tag[1:]
    return continues or (tag[0] not in "IE" and not (closing and is_open))
