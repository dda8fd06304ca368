"""Sentences to learn a language from: the Brown corpus, or the lines of the user's own text.

Francis & Kucera 1964: 500 texts of American English printed in 1961, of 15 kinds from news to humour, 57,340 sentences
of 1,161,192 words. The parts of speech that its words are tagged with are left out.
"""

from pathlib import Path

from xlstm_jax.data.archives import ARCHIVES, RemoteArchive, nltk_corpus, unpacked
from xlstm_jax.data.labelled import clitics_apart, split_words
from xlstm_jax.data.lines import read_lines
from xlstm_jax.errors import UsageError

ARCHIVES["nltk/brown.zip"] = RemoteArchive(
    sources=(nltk_corpus("brown"),),
    members=("brown/",),
    size=10_117_565,
    sha256="dfec124915f72e62a6b1ac873d3f4d0af026b3c522593a805b907d814b3b5f93",
)


def brown() -> list[list[str]]:
    """The words of each sentence, in order. Downloads the corpus on first use.

    Clitics such as 's and n't are words of their own, as in the treebanks that other tasks read.
    """
    files = sorted((unpacked("nltk/brown.zip") / "brown").glob("c[a-r][0-9][0-9]"))
    lines = (line.split() for file in files for line in file.read_text(encoding="utf-8").split("\n"))
    return [clitics_apart(" ".join(word.rpartition("/")[0] for word in line)).split() for line in lines if line]


def own(path: str) -> list[list[str]]:
    """The words of each line of a UTF-8 text file, or of the .txt files of a folder; empty lines are left out.

    Raises:
        UsageError: there is no such file, or it is empty or not UTF-8.
    """
    root = Path(path).expanduser()
    files = sorted(root.glob("*.txt")) if root.is_dir() else [root]
    if not files:
        raise UsageError(f"{str(root)!r} has no .txt file; give a file or a folder of them, with a sentence per line")
    found = [split_words(line) for file in files for line in read_lines(file, "a sentence")]
    return [words for words in found if words]
