"""Nucleotides as series of four channels, one for each base."""

import numpy as np

from xlstm_jax.errors import UsageError, shown

BASES = ("A", "C", "G", "T")
# What each letter of IUPAC's code can stand for.
LETTERS = {
    **{base: base for base in BASES},
    "U": "T",
    "R": "AG",
    "Y": "CT",
    "S": "CG",
    "W": "AT",
    "K": "GT",
    "M": "AC",
    "B": "CGT",
    "D": "AGT",
    "H": "ACT",
    "V": "ACG",
    "N": "ACGT",
}
_SHARES = np.zeros((256, len(BASES)), np.float32)
for _letter, _bases in LETTERS.items():
    for _case in (_letter, _letter.lower()):
        _SHARES[ord(_case)] = [(base in _bases) / len(_bases) for base in BASES]


def encode(text: str, where: str) -> np.ndarray:
    """[T, 4], float32: the probability of A, C, G and T at each step; 1/4 each for N.

    Raises:
        UsageError: a letter stands for no nucleotide; the message begins with `where`.
    """
    codes_T = np.frombuffer(text.encode("latin-1", "replace"), np.uint8)
    values_TC = _SHARES[codes_T]
    if len(wrong := np.flatnonzero(values_TC.sum(axis=1) == 0)):
        letter = shown(text[wrong[0]])
        raise UsageError(f"{where} has {letter} at step {wrong[0] + 1}; nucleotides are {' '.join(LETTERS)}")
    return values_TC
