"""The options of generation, checked."""

import math

from xlstm_jax.errors import UsageError

LARGEST_LENGTH, LARGEST_SEED = 2**31 - 1, 2**63 - 1


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
    """Raises `UsageError` that names the first option outside its range, `mark` before the name.

    Args:
        least: tokens that `length` is at least.
    """
    for name, value, allowed, words in (
        ("length", length, least <= length <= LARGEST_LENGTH, f"{least} to {LARGEST_LENGTH}"),
        ("temperature", temperature, 0 <= temperature < math.inf, "0, which is greedy, or a finite number over it"),
        ("top_k", top_k, top_k >= 0, "0, which keeps all tokens, or a number over it"),
        ("top_p", top_p, 0 < top_p <= 1, "numbers over 0 and at most 1, which keeps all tokens"),
        ("seed", seed, 0 <= seed <= LARGEST_SEED, f"0 to {LARGEST_SEED}"),
    ):
        if not allowed:
            raise UsageError(f"{mark}{name} {value} is not allowed; allowed: {words}")
