"""Checks of generation options."""

import numbers
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from xlstm_jax.errors import UsageError, shown

LARGEST_LENGTH, LARGEST_SEED = 2**31 - 1, 2**63 - 1
LARGEST_TEMPERATURE = 1e38  # close to the largest float32


def check_options(
    *,
    length: int = 1,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    seed: int = 0,
    least: int = 1,
    mark: str = "",
) -> None:
    """Raises a `UsageError` that names the first option outside its range.

    Args:
        least: minimum of `length`.
        mark: prefix of the option's name in the message.
    """

    def check(name: str, value: object, kind: type, allowed: Callable[[Any], bool], words: str) -> None:
        if isinstance(value, bool) or not isinstance(value, kind) or not allowed(value):
            raise UsageError(f"{mark}{name} {shown(value)} is not allowed; must be {words}")

    integer, number = numbers.Integral, numbers.Real
    check("length", length, integer, lambda n: least <= n <= LARGEST_LENGTH, f"{least} to {LARGEST_LENGTH}")
    words = "0 (greedy) or a finite number over 0"
    check("temperature", temperature, number, lambda x: 0 <= x <= LARGEST_TEMPERATURE, words)
    check("top_k", top_k, integer, lambda n: n >= 0, "0 (keeps all tokens) or an integer over 0")
    check("top_p", top_p, number, lambda x: 0 < x <= 1, "over 0 and at most 1 (keeps all tokens)")
    check("seed", seed, integer, lambda n: 0 <= n <= LARGEST_SEED, f"0 to {LARGEST_SEED}")


def check_tokens(tokens: Iterable[int], vocabulary: int) -> None:
    """Raises a `UsageError` for stop and padding tokens outside the vocabulary."""
    for token in tokens:
        if isinstance(token, bool) or not isinstance(token, int | np.integer) or not 0 <= token < vocabulary:
            raise UsageError(
                f"token {token!r} is outside the vocabulary; stop and padding must be 0 to {vocabulary - 1}"
            )
