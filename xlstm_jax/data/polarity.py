"""Sentence polarity: 5,331 negative and 5,331 positive sentences from film reviews, known as MR.

Pang & Lee 2005, "Seeing stars: exploiting class relationships for sentiment categorization with respect to rating
scales" (ACL). There is no published split: results are the mean of a 10-fold cross-validation.
"""

from xlstm_jax.data.archives import ARCHIVES, RemoteArchive, nltk_corpus, unpacked
from xlstm_jax.data.lines import read_lines

NAMES = {"negative": "neg", "positive": "pos"}
_FILES = tuple(f"sentence_polarity/rt-polarity.{ending}" for ending in NAMES.values())
ARCHIVES["nltk/sentence_polarity.zip"] = RemoteArchive(
    sources=(nltk_corpus("sentence_polarity"),),
    members=_FILES,
    size=1_238_775,
    sha256="a9770aa340989ee15cc5683ab6e1b90e73f33f972a420168f252c1f01c984084",
)


def sentences() -> list[tuple[str, str]]:
    """All sentences with their labels, "negative" or "positive". Downloads the files on first use."""
    folder, found = unpacked("nltk/sentence_polarity.zip"), []
    for label, name in zip(NAMES, _FILES, strict=True):
        found += [(line.strip(), label) for line in read_lines(folder / name, "a sentence")]
    return found
