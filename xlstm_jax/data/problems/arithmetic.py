"""Random expressions of +, - and * over the integers modulo 5, and their values."""

import numpy as np

MODULUS = 5
OPERATORS = "+-*"


def flat(rng: np.random.Generator, length: int) -> str:
    """Draws d op d op ... d, at most `length` characters but at least one."""
    terms = (max(length, 1) + 1) // 2
    digits, operators = rng.integers(0, MODULUS, terms), rng.integers(0, len(OPERATORS), terms)
    text = "".join(f"{digit}{OPERATORS[operator]}" for digit, operator in zip(digits, operators, strict=True))
    return text[:-1]


def bracketed(rng: np.random.Generator, length: int) -> str:
    """Draws an expression of exactly `length` >= 1 characters: d, -d, (d), (-d), or (left op right)."""
    if length <= 4:
        digit = str(rng.integers(MODULUS))
        return (digit, f"-{digit}", f"({digit})", f"(-{digit})")[length - 1]
    left = int(rng.integers(1, length - 3))
    operator = OPERATORS[rng.integers(len(OPERATORS))]
    return f"({bracketed(rng, left)}{operator}{bracketed(rng, length - 3 - left)})"


def value(text: str) -> int:
    """The value modulo 5, by recursive descent. Precedence: brackets, signs, products, sums; left to right.

    `text` must be well formed, like the output of `flat` and `bracketed`.
    """
    result, end = _sum(text, 0)
    assert end == len(text), f"{text!r} is not an expression"
    return result % MODULUS


def _sum(text: str, at: int) -> tuple[int, int]:
    result, at = _product(text, at)
    while at < len(text) and text[at] in "+-":
        operator = text[at]
        term, at = _product(text, at + 1)
        result = (result + term if operator == "+" else result - term) % MODULUS
    return result, at


def _product(text: str, at: int) -> tuple[int, int]:
    result, at = _factor(text, at)
    while at < len(text) and text[at] == "*":
        factor, at = _factor(text, at + 1)
        result = result * factor % MODULUS
    return result, at


def _factor(text: str, at: int) -> tuple[int, int]:
    if text[at] == "-":
        result, at = _factor(text, at + 1)
        return -result % MODULUS, at
    if text[at] == "(":
        result, at = _sum(text, at + 1)
        return result, at + 1
    return int(text[at]), at + 1
