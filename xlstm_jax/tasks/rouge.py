"""ROUGE by the package rouge-score, and the sentences that have the best: Lin 2004.

F-measures of stemmed words, from 0 to 100. With several references, those of the one with the best ROUGE-1 count, as
Cachola et al. 2020 score SciTLDR.
"""

import functools
from collections.abc import Sequence
from typing import Any

from xlstm_jax.errors import optional

KINDS = ("rouge1", "rouge2", "rougeL")


class _Tokenizer:
    """The package's own, which remembers: sentences and summaries are compared many times."""

    def __init__(self, tokenizer: Any):
        self.tokenize = functools.lru_cache(maxsize=2**16)(tokenizer.tokenize)


@functools.cache
def _scorer(kinds: tuple[str, ...]) -> Any:
    scoring, tokenizers = (
        optional(f"rouge_score.{name}", "ROUGE needs", "rouge-score") for name in ("rouge_scorer", "tokenizers")
    )
    return scoring.RougeScorer(list(kinds), tokenizer=_Tokenizer(tokenizers.DefaultTokenizer(use_stemmer=True)))


def scores(text: str, references: Sequence[str]) -> dict[str, float]:
    """F of ROUGE-1, ROUGE-2 and ROUGE-L of a text, against the reference with the best ROUGE-1."""
    found = (_scorer(KINDS).score(reference, text) for reference in references)
    best = max(found, key=lambda one: one["rouge1"].fmeasure)
    return {kind: 100 * best[kind].fmeasure for kind in KINDS}


def oracle(sentences: Sequence[str], references: Sequence[str], count: int) -> list[int]:
    """Places of up to `count` sentences, in order, whose ROUGE-1 is the best that is found greedily.

    The sentence that raises it most is added, of equal ones the first, until none raises it (Nallapati et al. 2017,
    arXiv 1611.04230). There is at least one.
    """

    def score(places: Sequence[int]) -> float:
        text = " ".join(sentences[place] for place in sorted(places))
        return max(_scorer(KINDS[:1]).score(reference, text)["rouge1"].fmeasure for reference in references)

    taken: list[int] = []
    while len(taken) < min(count, len(sentences)):
        others = {place: score([*taken, place]) for place in range(len(sentences)) if place not in taken}
        best = max(others, key=others.get)
        if taken and others[best] <= score(taken):
            break
        taken.append(best)
    return sorted(taken)
