"""The formal languages of the xLSTM paper, as prompts with answers.

Languages and vocabulary sizes: Beck et al. 2024 (arXiv 2405.04517), most of them from Delétang et al. 2022 (arXiv
2207.02098). Token 0 is always padding. Each language's docstring specifies what the papers leave open.
"""

import dataclasses
from collections.abc import Callable

import numpy as np

from xlstm_jax.data.problems.arithmetic import MODULUS, bracketed, flat, value
from xlstm_jax.data.problems.base import Rows, next_tokens

Example = tuple[np.ndarray, np.ndarray]  # prompt, answer
ACT = 1  # "answer now"; ends the prompt if the answer has several tokens or is a missing part of the prompt


@dataclasses.dataclass(frozen=True)
class Language:
    """One language.

    Args:
        vocab_size: number of tokens, including padding and marks.
        choices: number of equally likely tokens in an answer; sets the chance level.
        example: (rng, steps) -> prompt and answer. Together they have at most `steps` tokens, as many as the language
            allows, without the answer's last token, which is not read.
        shortest: steps of the shortest example.
        chomsky: level in the Chomsky hierarchy, as in the paper.
    """

    vocab_size: int
    choices: int
    example: Callable[[np.random.Generator, int], Example]
    shortest: int
    chomsky: str
    names: tuple[str, ...] = ()  # readable names of the tokens; (): their numbers
    answer_length: Callable[[np.ndarray], int] | None = None  # number of tokens in the answer to a prompt; None: one


@dataclasses.dataclass(frozen=True)
class Examples:
    """Rows of a language with the number of steps uniform in `shortest` to `length`."""

    language: Language
    shortest: int
    length: int

    def rows(self, rng: np.random.Generator, count: int) -> Rows:
        steps_B = rng.integers(self.shortest, self.length + 1, count)
        pairs = [self.language.example(rng, int(steps)) for steps in steps_B]
        return next_tokens(*zip(*pairs, strict=True), self.length)


def _one(token: int) -> np.ndarray:
    return np.array([token], np.int32)


def _symbols(rng: np.random.Generator, count: int, first: int, size: int) -> np.ndarray:
    return rng.integers(first, first + size, count, dtype=np.int32)


def _parity(rng, steps) -> Example:
    """Tokens a = 1 and b = 2; the answer is a if the number of b's is even, else b."""
    prompt = _symbols(rng, steps, 1, 2)
    return prompt, _one(1 + np.sum(prompt == 2) % 2)


def _even_pairs(rng, steps) -> Example:
    """Tokens as in parity; the answer is a if ab and ba together occur an even number of times, else b."""
    prompt = _symbols(rng, steps, 1, 2)
    return prompt, _one(1 + np.sum(prompt[1:] != prompt[:-1]) % 2)


def _cycle_navigation(rng, steps) -> Example:
    """Moves stay = 1, on = 2, back = 3 on a ring of 5 places from place 0; the answer is 4 + the final place."""
    prompt = _symbols(rng, steps, 1, 3)
    return prompt, _one(4 + (np.sum(prompt == 2) - np.sum(prompt == 3)) % 5)


# Tokens of the three arithmetic languages, by character; numbers are modulo 5.
FLAT = {character: 1 + n for n, character in enumerate("+-*=01234")}
BRACKETED = {character: 1 + n for n, character in enumerate("+-*=()01234")}
EQUATION = {character: 2 + n for n, character in enumerate("+-*=()x01234")}


def _spelt(text: str, tokens: dict[str, int]) -> np.ndarray:
    return np.array([tokens[character] for character in text], np.int32)


def _flat_arithmetic(rng, steps) -> Example:
    """d op d op ... d =, products before sums; the answer is the value modulo 5."""
    text = flat(rng, steps - 1)
    return _spelt(text + "=", FLAT), _one(FLAT[str(value(text))])


def _bracketed_arithmetic(rng, steps) -> Example:
    """Modular arithmetic with signs, and with brackets around every sum, difference and product."""
    text = bracketed(rng, steps - 1)
    return _spelt(text + "=", BRACKETED), _one(BRACKETED[str(value(text))])


def _solve_equation(rng, steps) -> Example:
    """expression = d ACT, with x for one number in the expression; the answer is the only x that solves it modulo 5."""
    while True:  # at some places, several values of x solve the equation
        text = bracketed(rng, steps - 3)
        places = [place for place, character in enumerate(text) if character.isdigit()]
        place = places[rng.integers(len(places))]
        right = value(text)
        solutions = [x for x in range(MODULUS) if value(f"{text[:place]}{x}{text[place + 1 :]}") == right]
        if len(solutions) == 1:
            break
    prompt = np.append(_spelt(f"{text[:place]}x{text[place + 1 :]}={right}", EQUATION), np.int32(ACT))
    return prompt, _one(EQUATION[str(solutions[0])])


def _from_string(size: int, answer: Callable[[np.ndarray], np.ndarray]) -> Callable:
    """A string over `size` symbols from token 2 on, ACT, and an answer of the same length."""

    def example(rng, steps) -> Example:
        string = _symbols(rng, steps // 2, 2, size)
        return np.append(string, np.int32(ACT)), answer(string)

    return example


def _odds_first(string: np.ndarray) -> np.ndarray:
    """The first, third, ... symbols, then the second, fourth, ..."""
    return np.concatenate([string[::2], string[1::2]])


def _missing_duplicate(rng, steps) -> Example:
    """A string over 8 symbols from token 3 on, it again with one symbol masked (2), ACT; the answer is that symbol."""
    string = _symbols(rng, (steps - 1) // 2, 3, 8)
    again, place = string.copy(), rng.integers(len(string))
    again[place] = 2
    return np.concatenate([string, again, _one(ACT)]), _one(string[place])


PUSH, POP = 2, 3


def _stack_manipulation(rng, steps) -> Example:
    """A stack's content from the bottom, PUSH symbol and POP operations, ACT; the answer is the content from the top.

    7 symbols from token 4 on. POP of an empty stack does nothing. Examples whose stack ends empty are redrawn.
    """
    while True:
        held = int(rng.integers(1, max(steps // 3, 1) + 1))
        stack = [*map(int, _symbols(rng, held, 4, 7))]
        prompt = stack.copy()
        # A PUSH takes two steps of the prompt and one of the answer; a symbol of the content takes one of each.
        for _ in range((steps - 2 * held) // 3):
            if rng.random() < 0.5:
                symbol = int(rng.integers(4, 11))
                prompt += [PUSH, symbol]
                stack.append(symbol)
            else:
                prompt.append(POP)
                stack = stack[:-1]
        if stack:
            return np.array([*prompt, ACT], np.int32), np.array(stack[::-1], np.int32)


def _set(rng, steps) -> Example:
    """A string over 126 symbols from token 2 on, ACT; the answer is its distinct symbols by first occurrence."""
    string = _symbols(rng, steps // 2, 2, 126)
    _, first = np.unique(string, return_index=True)
    return np.append(string, np.int32(ACT)), string[np.sort(first)]


def _most_frequent(rng, steps) -> tuple[np.ndarray, int, int]:
    """A string over 63 symbols from token 1 on with a unique most frequent symbol; that symbol; its count."""
    string = _symbols(rng, steps, 1, 63)
    while True:
        counts = np.bincount(string, minlength=64)
        best = int(np.argmax(counts))
        if np.sum(counts == counts[best]) == 1:
            return string, best, int(counts[best])
        others = np.flatnonzero(string != best)
        string[rng.choice(others)] = best


def _majority(rng, steps) -> Example:
    """The answer is the most frequent token; there are no ties."""
    string, best, _ = _most_frequent(rng, steps)
    return string, _one(best)


def _majority_count(rng, steps) -> Example:
    """The answer is the count of the most frequent token, at most 63."""
    string, _, count = _most_frequent(rng, steps)
    return string, _one(min(count, 63))


def _left(prompt: np.ndarray) -> int:
    """Number of symbols on the stack after the prompt, at least 1."""
    held, steps = 0, iter(prompt.tolist())
    for token in steps:
        if token == PUSH:
            next(steps, None)
        held += token not in (POP, ACT)
        held -= token == POP and held > 0
    return max(held, 1)


def _named(marks: str, symbols: int) -> tuple[str, ...]:
    """Token names: padding, marks, and symbols s0, s1, ..."""
    return (".", *marks.split(), *(f"s{n}" for n in range(symbols)))


def _string(size: int, answer: Callable[[np.ndarray], np.ndarray], chomsky: str) -> Language:
    """A language whose answer is as long as the string in the prompt."""
    names = _named("ACT", size)
    return Language(size + 2, size, _from_string(size, answer), 2, chomsky, names, lambda p: max(len(p) - 1, 1))


REGULAR, FREE, SENSITIVE, MORE = "regular", "deterministic context-free", "context-sensitive", "more"

LETTERS = (".", "a", "b")
MOVES = (".", "stay", "on", "back", *"01234")

LANGUAGES = {
    "parity": Language(3, 2, _parity, 1, REGULAR, LETTERS),
    "even_pairs": Language(3, 2, _even_pairs, 1, REGULAR, LETTERS),
    "cycle_navigation": Language(9, 5, _cycle_navigation, 1, REGULAR, MOVES),
    "modular_arithmetic": Language(10, 5, _flat_arithmetic, 2, REGULAR, (".", *FLAT)),
    "modular_arithmetic_brackets": Language(12, 5, _bracketed_arithmetic, 2, FREE, (".", *BRACKETED)),
    "solve_equation": Language(14, 5, _solve_equation, 4, FREE, (".", "ACT", *EQUATION)),
    "reverse_string": _string(10, lambda string: string[::-1], FREE),
    "stack_manipulation": Language(11, 7, _stack_manipulation, 2, FREE, _named("ACT PUSH POP", 7), _left),
    "bucket_sort": _string(9, np.sort, SENSITIVE),
    "missing_duplicate": Language(11, 8, _missing_duplicate, 3, SENSITIVE, _named("ACT ?", 8)),
    "odds_first": _string(10, _odds_first, SENSITIVE),
    "repetition": _string(10, np.copy, SENSITIVE),
    "set": Language(128, 126, _set, 2, MORE, _named("ACT", 126), lambda p: max(len(set(p[:-1].tolist())), 1)),
    "majority": Language(64, 63, _majority, 1, MORE),
    "majority_count": Language(64, 63, _majority_count, 1, MORE),
}
