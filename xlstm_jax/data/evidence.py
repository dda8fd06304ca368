"""What each word of a text, and each pair of words, says on its class, from counts in the training texts."""

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple, Self

import numpy as np

from xlstm_jax.data.codecs import padded
from xlstm_jax.errors import UsageError

LEAST = 2  # of a pair in the training texts; rarer ones say nothing


class EvidentTexts(NamedTuple):
    """A batch of labelled texts with evidence."""

    tokens_BT: np.ndarray  # int32, 0 in the padding
    evidence_BTF: np.ndarray  # float32, F = 2 A for A classes, see `Evidence.row_of`
    label_B: np.ndarray  # int32
    lengths_B: np.ndarray  # int32, 0 in padding rows


class Evidence:
    """Weights of evidence, which naive Bayes adds up: log (n_fc + 1) / (N_c + 1), less its mean over classes c.

    n_fc is how often the feature f, a token or a pair of one with the token before it, is in training texts of class c,
    and N_c how many tokens these have. Wang & Manning 2012 give such ratios to a classifier. A training text does not
    count itself, so that its weights are like those of a new text.

    Args:
        words_VA: counts of tokens by class.
        pairs: counts of pairs by class, [A] each; without those that occur less than `LEAST` times.
    """

    def __init__(self, words_VA: np.ndarray, pairs: dict[tuple[int, int], np.ndarray]):
        self.words_VA, self.pairs = words_VA, pairs
        self._log_total_A = np.log(words_VA.sum(axis=0) + 1)

    @classmethod
    def of(cls, rows: Sequence[np.ndarray], label_N: np.ndarray, vocab_size: int, classes: int) -> Self:
        """The counts of training texts, given as tokens [T], and their classes."""
        words_VA, counts = np.zeros((vocab_size, classes), np.int64), [Counter() for _ in range(classes)]
        for tokens_T, label in zip(rows, label_N.tolist(), strict=True):
            np.add.at(words_VA[:, label], tokens_T, 1)
            counts[label].update(pairs_of(tokens_T))
        total = sum(counts, Counter())
        kept = (pair for pair, count in total.items() if count >= LEAST)
        return cls(words_VA, {pair: np.array([one[pair] for one in counts]) for pair in kept})

    def to_json(self) -> dict[str, Any]:
        pairs = [[*pair, *counts_A.tolist()] for pair, counts_A in self.pairs.items()]
        return {"words": self.words_VA.tolist(), "pairs": pairs}

    @classmethod
    def from_json(cls, data: Any, vocab_size: int, classes: int) -> Self:
        """Raises `UsageError` if the data cannot come from `to_json` of that many words and classes."""
        try:
            words_VA = np.array(data["words"], np.int64).reshape(vocab_size, classes)
            pairs_NF = np.array(data["pairs"], np.int64).reshape(-1, 2 + classes)
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise UsageError(
                f"the codec is damaged; its evidence needs words, [{vocab_size}, {classes}] counts, and pairs"
            ) from error
        return cls(
            words_VA,
            {
                (one, two): counts_A
                for (one, two), counts_A in zip(pairs_NF[:, :2].tolist(), pairs_NF[:, 2:], strict=True)
            },
        )

    def row_of(self, tokens_T: np.ndarray, label: int | None = None) -> np.ndarray:
        """[T, 1 + 2 A], float32: tokens, and the weights of each token and of its pair with the one before.

        `label` is the class of a training text, whose own counts are taken away.
        """
        pairs, none_A = pairs_of(tokens_T), np.zeros(self.words_VA.shape[1], np.int64)
        words_TA = self.words_VA[tokens_T]
        pairs_TA = np.array([self.pairs.get(pair, none_A) for pair in pairs], np.int64).reshape(words_TA.shape)
        if label is not None:
            own, own_pairs = Counter(tokens_T.tolist()), Counter(pairs)
            words_TA[:, label] -= [own[token] for token in tokens_T.tolist()]
            pairs_TA[:, label] -= [own_pairs[pair] * (pair in self.pairs) for pair in pairs]
        return np.concatenate([tokens_T[:, None], self._weights(words_TA), self._weights(pairs_TA)], axis=1).astype(
            np.float32
        )

    def _weights(self, counts_TA: np.ndarray) -> np.ndarray:
        logs_TA = np.log(counts_TA + 1) - self._log_total_A
        return np.where(counts_TA.any(axis=1, keepdims=True), logs_TA - logs_TA.mean(axis=1, keepdims=True), 0)


def pairs_of(tokens_T: np.ndarray) -> list[tuple[int, int]]:
    """Each token and the one before; 0 is before the first one."""
    tokens = tokens_T.tolist()
    return list(zip([0, *tokens], tokens, strict=False))


def batch_of(rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> EvidentTexts:
    """A batch of rows from `Evidence.row_of`, padded to a multiple of tokens."""
    array_BTF, lengths_B = padded(rows, multiple_of=multiple_of)
    return EvidentTexts(array_BTF[..., 0].astype(np.int32), array_BTF[..., 1:], labels.astype(np.int32), lengths_B)
