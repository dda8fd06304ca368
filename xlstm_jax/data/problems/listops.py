"""ListOps: random nested operations on lists of digits, and their values.

Nangia & Bowman 2018 (arXiv 1804.06028); longer expressions in Tay et al. 2020 (Long Range Arena, arXiv 2011.04006). An
expression is [OP, two or more arguments, ]. An argument is an expression with probability 1/4 if the depth allows it,
else a digit. Operations: minimum, maximum, median (for an even number of digits the mean of the middle two, rounded
down), sum modulo 10.
"""

import dataclasses
import random
from collections.abc import Callable

import numpy as np

from xlstm_jax.data.problems.base import Rows, next_tokens
from xlstm_jax.errors import UsageError

NESTED = 0.25  # probability that an argument is an expression
OPERATIONS = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda digits: (sorted(digits)[(len(digits) - 1) // 2] + sorted(digits)[len(digits) // 2]) // 2,
    "[SM": lambda digits: sum(digits) % 10,
}
SYMBOLS = (".", *"0123456789", *OPERATIONS, "]")  # by token; the first is padding
DIGIT, OPERATION, CLOSE = (SYMBOLS.index(symbol) for symbol in ("0", "[MIN", "]"))
TRIES = 20_000  # draws until an expression has an allowed length


def expression(uniform: Callable[[], float], depth: int, arguments: int, longest: int) -> list[int] | None:
    """Draws the tokens of one expression; returns None if it has more than `longest`.

    Args:
        uniform: returns a random number in [0, 1).
        depth: maximum nesting of operations.
        arguments: maximum number of arguments of an operation.
        longest: maximum number of tokens.
    """
    tokens, missing = [], [1]  # missing: number of arguments still to come, for the whole and each open operation
    size = 1  # length of the whole if all missing arguments are digits
    while missing:
        if not missing[-1]:
            missing.pop()
            tokens.append(CLOSE)
            continue
        missing[-1] -= 1
        if not tokens or (len(missing) <= depth and uniform() < NESTED):
            tokens.append(OPERATION + int(uniform() * len(OPERATIONS)))
            missing.append(2 + int(uniform() * (arguments - 1)))
            size += 1 + missing[-1]
            if size > longest:
                return None
        else:
            tokens.append(0)  # digits are drawn once the expression is known to fit
    tokens.pop()  # the CLOSE of the whole, which has no operation
    return [token or DIGIT + int(uniform() * 10) for token in tokens]


def value(tokens: list[int]) -> int:
    """The value of a whole expression."""
    operations, values = [], [[]]
    for token in tokens:
        if token == CLOSE:
            digits = values.pop()
            values[-1].append(operations.pop()(digits))
        elif token >= OPERATION:
            operations.append(OPERATIONS[SYMBOLS[token]])
            values.append([])
        else:
            values[-1].append(token - DIGIT)
    return values[0][0]


@dataclasses.dataclass(frozen=True)
class ListOps:
    """Rows of expressions of `shortest` to `length` steps; the target at the last step is the value.

    Raises:
        UsageError: none of `TRIES` expressions has such a length.
    """

    depth: int
    arguments: int
    shortest: int
    length: int

    def __post_init__(self):
        self._drawn(random.Random(0).random)

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        # For one number at a time, Python's generator is 20 times as fast as numpy's.
        uniform = random.Random(int(rng.integers(2**63))).random
        prompts = [self._drawn(uniform) for _ in range(count)]
        answers = [np.array([DIGIT + value(prompt)]) for prompt in prompts]
        return next_tokens(prompts, answers, self.length)

    def _drawn(self, uniform: Callable[[], float]) -> list[int]:
        for _ in range(TRIES):
            tokens = expression(uniform, self.depth, self.arguments, self.length)
            if tokens is not None and len(tokens) >= self.shortest:
                return tokens
        raise UsageError(
            f"none of {TRIES:,} expressions drawn with data.depth {self.depth} and data.arguments {self.arguments} has "
            f"{self.shortest} to {self.length} steps; allow other lengths, or change depth or arguments"
        )
