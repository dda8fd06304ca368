"""ROUGE by hand, and the sentences that have the best."""

import itertools

import numpy as np
import pytest

from xlstm_jax.tasks.rouge import oracle, scores

pytest.importorskip("rouge_score", reason="rouge-score is not installed (pip install -e '.[tasks]')")


def test_scores_by_hand():
    """5 and 4 words: 3 in common, in order; 1 of 4 and 3 pairs; words are stemmed."""
    found = scores("the quick cats were running", ["the cat runs far"])
    assert found == pytest.approx({"rouge1": 200 * 3 / 9, "rouge2": 0, "rougeL": 200 * 3 / 9})
    found = scores("we show a thing", ["we show the thing", "nothing"])
    assert found == pytest.approx({"rouge1": 75, "rouge2": 100 / 3, "rougeL": 75})


def test_the_reference_with_the_best_rouge_1_counts():
    """Also for the others, which another reference would raise."""
    references = ["d c b a", "a b x y z"]
    found = scores("a b c d", references)
    assert found == pytest.approx({"rouge1": 100, "rouge2": 0, "rougeL": 25})
    assert scores("a b c d", references[1:])["rouge2"] > 0


def test_the_best_sentence():
    sentences = ["some words", "the best of all", "the best", "the best"]
    assert oracle(sentences, ["it is the best"], 1) == [2]  # the first of two that are equal
    assert oracle(sentences, ["nothing at all like it"], 9) == [1]
    assert oracle(["one", "two"], ["three"], 2) == [0]  # one at least
    assert oracle(["a b", "c d", "e"], ["c d a b"], 3) == [0, 1]  # until none raises it, in order


@pytest.mark.parametrize("seed", range(5))
def test_greedy_is_nearly_the_best(seed):
    """Never worse than the best single sentence; for one sentence, the best."""
    rng = np.random.default_rng(seed)
    sentences = [" ".join(rng.choice(list("abcdefgh"), 4)) for _ in range(6)]
    target = [" ".join(rng.choice(list("abcdefgh"), 8))]

    def rouge(places):
        return scores(" ".join(sentences[place] for place in places), target)["rouge1"]

    singles = [rouge([place]) for place in range(6)]
    assert rouge(oracle(sentences, target, 1)) == max(singles)
    greedy, best = rouge(oracle(sentences, target, 2)), max(map(rouge, itertools.combinations(range(6), 2)))
    assert max(singles) <= greedy <= max(best, max(singles))
