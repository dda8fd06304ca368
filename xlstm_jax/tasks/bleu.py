"""BLEU by sacrebleu, from counts that add up over batches."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from xlstm_jax.errors import optional
from xlstm_jax.tasks.base import Ratio


def _metric() -> Any:
    return optional("sacrebleu.metrics", "BLEU needs", "sacrebleu").BLEU


def counts(texts: Sequence[str], references: Sequence[str | Sequence[str]]) -> Ratio:
    """Right and all n-grams for n = 1 to 4, then the words of the texts and of the references; see `score`.

    Args:
        texts: those to score.
        references: of each text, one or several; of several, the one of the closest length gives the words.
    """
    found = _metric()().corpus_score(list(texts), _aligned(references)) if texts else None
    if found is None:
        return Ratio(np.zeros(5), np.zeros(5))
    return Ratio(np.array([*found.counts, found.sys_len], float), np.array([*found.totals, found.ref_len], float))


def _aligned(references: Sequence[str | Sequence[str]]) -> list[list[str | None]]:
    """The first reference of each text, the second of each, and so on; None where a text has no more."""
    listed = [[one] if isinstance(one, str) else list(one) for one in references]
    return [list(column) for column in itertools.zip_longest(*listed)]


def score(ratio: Ratio) -> float:
    """Corpus BLEU, from 0 to 100, of summed `counts`. Papineni et al. 2002; smoothed as sacrebleu does by default."""
    right, total = np.asarray(ratio.total, int).tolist(), np.asarray(ratio.count, int).tolist()
    return float(_metric().compute_bleu(right[:4], total[:4], right[4], total[4], smooth_method="exp").score)


def signature(references: Sequence[int] = (1,)) -> str:
    """What sacrebleu says of how it computes the score, such as the tokenizer and its version.

    Args:
        references: the different numbers of references that texts have.
    """
    metric = _metric()()
    metric.corpus_score(["a"] * len(references), _aligned([["a"] * number for number in references]))
    return str(metric.get_signature())
