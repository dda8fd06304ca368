"""Published pairs of texts: Multi30k, descriptions of pictures in two languages, and SCAN, commands and actions.

Multi30k (Elliott et al. 2016, arXiv 1605.00459), task 1: 29,000 pairs of a German and an English sentence for training,
1,014 for validation, 1,000 for testing (test_2016_flickr).

SCAN (Lake & Baroni 2018, arXiv 1711.00350): commands such as "jump twice" and the actions that carry them out, in three
splits: simple (16,728 + 4,182 pairs at random), length (16,990 + 3,920; only the test part has actions of more than 22
steps), jump (14,670 + 7,706; the test part combines "jump", which is trained on alone, with other words).
"""

import gzip
from typing import NamedTuple

from xlstm_jax.data.archives import ARCHIVES, RemoteArchive, github_archive, unpacked
from xlstm_jax.data.download import FILES, RemoteFile, fetch, github

_MULTI30K = "a3d2e0d26b56f3846f66a952536ffed4e401d05a"
_PARTS = {"train": "train", "validation": "val", "test": "test_2016_flickr"}
for _name, _sha256 in {
    "train.de": "726e39b2fa9eb9ffb6dc763fb35a179f80fae06ffc5d28b6ace5faa883de28a6",
    "train.en": "d79cfa999dd4c51d2cb42499b6796d5a882c3a8a961923c25a898c90f8bbd56f",
    "val.de": "f0cba2f995189cf5770f29a8a9a537a3ad3f51657ad873405082ff6863a5e75a",
    "val.en": "14f7d25ddd868909a9213e361768460edcacdd6ab9d1e77b92560dc10c10dc28",
    "test_2016_flickr.de": "9204244e408ccb38d2a55cfcd344df15005fc42a07a6e55ca6c52b6ababb8cc8",
    "test_2016_flickr.en": "611d361c6334bc7246101d48097c13cf5c4413c5befc793cc629934359d532d9",
}.items():
    _URL = github("multi30k/dataset", _MULTI30K, f"data/task1/raw/{_name}.gz")
    FILES[f"multi30k/{_name}.gz"] = RemoteFile(_URL, _sha256)

_SCAN, _TOP = github_archive("brendenlake/SCAN", "c4b756cbc010d75c912f16c42c8f15dc6b7e6c8f")
SCAN_SPLITS = {
    "simple": ("simple_split/tasks_train_simple.txt", "simple_split/tasks_test_simple.txt"),
    "length": ("length_split/tasks_train_length.txt", "length_split/tasks_test_length.txt"),
    "jump": ("add_prim_split/tasks_train_addprim_jump.txt", "add_prim_split/tasks_test_addprim_jump.txt"),
}
ARCHIVES["scan/scan_splits.tar.gz"] = RemoteArchive(
    sources=(_SCAN,),
    members=tuple(name for names in SCAN_SPLITS.values() for name in names),
    size=12_271_950,
    sha256="f5cfaa3d1a39169c9873cf5f1221fa3c51d23a0f5544a2e6cd23c180d3af578a",
    tops=(_TOP,),
)


class Pair(NamedTuple):
    """A text and what it is to become."""

    source: str
    target: str


def multi30k(source: str, target: str) -> dict[str, list[Pair]]:
    """The splits from one language, "de" or "en", to the other."""

    def lines(part: str, language: str) -> list[str]:
        with gzip.open(fetch(f"multi30k/{part}.{language}.gz"), "rt", encoding="utf-8") as file:
            return [line.strip() for line in file]

    return {
        split: [Pair(*pair) for pair in zip(lines(part, source), lines(part, target), strict=True)]
        for split, part in _PARTS.items()
    }


def scan(split: str) -> dict[str, list[Pair]]:
    """The parts "train" and "test" of a split of SCAN."""
    folder = unpacked("scan/scan_splits.tar.gz")
    parts = {}
    for part, name in zip(("train", "test"), SCAN_SPLITS[split], strict=True):
        lines = (folder / name).read_text(encoding="utf-8").splitlines()
        parts[part] = [Pair(*line.removeprefix("IN: ").split(" OUT: ")) for line in lines]
    return parts
