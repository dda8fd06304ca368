"""Published tagged sentences: the chunks of CoNLL-2000, and the entities of WNUT 2017.

CoNLL-2000 (Tjong Kim Sang & Buchholz 2000): 8,936 sentences of the Wall Street Journal for training and 2,012 for
testing, with 11 types of chunks. Its second column, the parts of speech of a tagger, is left out. WNUT 2017 (Derczynski
et al. 2017): 3,394 messages for training, 1,009 for validation, 1,287 for testing, with 6 types of entities that are
mostly new in each part.
"""

from collections.abc import Callable
from pathlib import Path

from xlstm_jax.data.archives import ARCHIVES, RemoteArchive, nltk_corpus, unpacked
from xlstm_jax.data.download import FILES, RemoteFile, fetch, github
from xlstm_jax.data.tagging.columns import Tagged, read_columns

ARCHIVES["nltk/conll2000.zip"] = RemoteArchive(
    sources=(nltk_corpus("conll2000"),),
    members=("conll2000/train.txt", "conll2000/test.txt"),
    size=3_481_560,
    sha256="83c75ea53301d7de0e1b526a97a86511f27d302f32549cc1da622d7f88ea6490",
)
_WNUT = {"train": "wnut17train.conll", "validation": "emerging.dev.conll", "test": "emerging.test.annotated"}
for _name, _sha256 in {
    "wnut17train.conll": "731820e13f71af324c6b55a1575ec2ce59fbaa2a0806f8f0400b98d56cd6a7a5",
    "emerging.dev.conll": "e053b752b8155113ca66e7db08af5f2f5f43ab993694e4774f1ec5bad42312d8",
    "emerging.test.annotated": "2aa79b764e56ec9264a1b30fdd9b70195bd00ff400b62edd8f399d5f13c178f0",
}.items():
    FILES[f"wnut17/{_name}"] = RemoteFile(
        github("leondz/emerging_entities_17", "e52a2d2a71ac1a051ca2d532eef28653c5c02603", _name), _sha256
    )


def conll2000() -> dict[str, list[Tagged]]:
    folder = unpacked("nltk/conll2000.zip") / "conll2000"
    return {split: read_columns(folder / f"{split}.txt") for split in ("train", "test")}


def wnut17() -> dict[str, list[Tagged]]:
    return {split: read_columns(fetch(f"wnut17/{name}")) for split, name in _WNUT.items()}


def folder(path: str) -> dict[str, list[Tagged]]:
    """The splits in a folder: train.conll and, if they are there, validation.conll and test.conll."""
    files = {split: Path(path).expanduser() / f"{split}.conll" for split in ("train", "validation", "test")}
    return {split: read_columns(file) for split, file in files.items() if split == "train" or file.is_file()}


READERS: dict[str, Callable[[], dict[str, list[Tagged]]]] = {"conll2000": conll2000, "wnut17": wnut17}
