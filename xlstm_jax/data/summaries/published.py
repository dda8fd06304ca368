"""Documents with summaries: SciTLDR, and simulated ones for tests.

SciTLDR (Cachola et al. 2020, arXiv 2004.15011), the part SciTLDR-A: abstracts of 1,992 papers for training, 619 for
validation and 618 for testing, each in sentences, with summaries of one sentence by authors and, but for training, by
others who read the paper's reviews.
"""

from collections.abc import Callable

import numpy as np

from xlstm_jax.data.batches import generator
from xlstm_jax.data.download import FILES, RemoteFile, fetch, github
from xlstm_jax.data.summaries.documents import Document, read_documents

_FILES = {"train": "train.jsonl", "validation": "dev.jsonl", "test": "test.jsonl"}
for _name, _sha256 in {
    "train.jsonl": "b222771d387be585cfdf5ae957b36757138415a352e0a3e3b23f73f87c3b1119",
    "dev.jsonl": "3191fa98ccc09521332b7a1cd63b1930be4e8df125a235ccd31e40329709525e",
    "test.jsonl": "fb42dd6cd4f4a1928ae8a01a189456fbfe994a07e938bd49f68653933f6503c9",
}.items():
    _COMMIT = "5ccad9c00a60ad75c9e04abf7f27d0f53f983b20"
    FILES[f"scitldr/{_name}"] = RemoteFile(
        github("allenai/scitldr", _COMMIT, f"SciTLDR-Data/SciTLDR-A/{_name}"), _sha256
    )

SIZES = {"train": 96, "validation": 32, "test": 32}  # of the simulated parts
WORDS, SENTENCES, LENGTHS = 60, (3, 8), (4, 9)  # different words; sentences of a document, words of a sentence


def scitldr() -> dict[str, list[Document]]:
    """The splits. Downloads the files on first use."""
    return {split: read_documents(fetch(f"scitldr/{name}")) for split, name in _FILES.items()}


def simulated() -> dict[str, list[Document]]:
    """Documents of random words. One sentence begins with "we show that"; the summary has most of its other words.

    They are the same in every run.
    """
    parts = {}
    for stream, (split, size) in enumerate(SIZES.items()):
        rng = generator(0, stream)
        parts[split] = [_simulated(rng) for _ in range(size)]
    return parts


def _simulated(rng: np.random.Generator) -> Document:
    sentences = [
        [f"w{number}" for number in rng.integers(WORDS, size=rng.integers(*LENGTHS))]
        for _ in range(rng.integers(*SENTENCES))
    ]
    chosen = int(rng.integers(len(sentences)))
    summary = " ".join(sentences[chosen][1:])
    sentences[chosen] = ["we", "show", "that", *sentences[chosen]]
    return Document(tuple(f"{' '.join(words)} ." for words in sentences), (f"{summary} .",))


READERS: dict[str, Callable[[], dict[str, list[Document]]]] = {"scitldr": scitldr, "simulated": simulated}
