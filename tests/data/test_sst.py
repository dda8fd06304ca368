"""The Stanford Sentiment Treebank as it is read: trees, phrases, published sizes."""

import collections

import pytest

from tests.mirror import needs_mirror
from xlstm_jax.data import sst
from xlstm_jax.errors import UsageError

LINE = "(4 (2 A) (3 (3 lovely) (2 film)))"
needs_data = needs_mirror("sst/")


def test_a_tree():
    tree = sst.parse(LINE)
    assert list(tree.words()) == ["A", "lovely", "film"] and tree.sentiment == 4
    phrases = {(" ".join(phrase.words()), phrase.sentiment) for phrase in tree.phrases()}
    assert phrases == {("A lovely film", 4), ("A", 2), ("lovely film", 3), ("lovely", 3), ("film", 2)}
    assert [*sst.parse("(2 (2 -LRB-) (2 x))").words()] == ["(", "x"]


@pytest.mark.parametrize("text", ["", "film", "(2", "(4 (2 A) (3 film)", ")"])
def test_what_is_no_tree(text):
    with pytest.raises(UsageError, match="is not a tree; write it like"):
        sst.parse(text)


@needs_data
def test_the_published_sizes():
    """8,544, 1,101 and 2,210 sentences; without the neutral ones 6,920, 872 and 1,821 (Socher et al. 2013)."""
    sizes, binary = {}, {}
    for split in sst.SPLITS:
        trees = sst.read(split)
        sizes[split], binary[split] = len(trees), sum(tree.sentiment != 2 for tree in trees)
    assert sizes == {"train": 8544, "validation": 1101, "test": 2210}
    assert binary == {"train": 6920, "validation": 872, "test": 1821}


@needs_data
def test_every_word_is_a_phrase():
    for tree in sst.read("validation"):
        words = list(tree.words())
        single = [phrase.word for phrase in tree.phrases() if phrase.word]
        assert collections.Counter(words) == collections.Counter(single)
        assert all(len(phrase.parts) in (0, 2) or phrase.word for phrase in tree.phrases())
