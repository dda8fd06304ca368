"""The generators of the formal languages against definitions that compute each answer in another way."""

import collections

import numpy as np
import pytest

from xlstm_jax.data.problems.base import next_tokens
from xlstm_jax.data.problems.formal_languages import ACT, LANGUAGES, Examples

RNG = np.random.default_rng(0)
VOCABULARY = {
    "parity": 3,
    "even_pairs": 3,
    "cycle_navigation": 9,
    "modular_arithmetic": 10,
    "modular_arithmetic_brackets": 12,
    "solve_equation": 14,
    "bucket_sort": 11,
    "missing_duplicate": 11,
    "odds_first": 12,
    "repetition": 12,
    "reverse_string": 12,
    "stack_manipulation": 11,
    "set": 128,
    "majority": 64,
    "majority_count": 64,
}


def spelt(tokens, characters, first):
    return "".join(characters[token - first] for token in tokens)


def parity(prompt):
    state = "a"
    for token in prompt:  # the half adder's sum
        state = {"a": "b", "b": "a"}[state] if token == 2 else state
    return [1 + "ab".index(state)]


def even_pairs(prompt):
    return [1 if prompt[0] == prompt[-1] else 2]


def cycle_navigation(prompt):
    ring, place = [4, 5, 6, 7, 8], 0
    for token in prompt:
        place += {1: 0, 2: 1, 3: -1}[token]
        place = 0 if place == 5 else 4 if place == -1 else place
    return [ring[place]]


def modular_arithmetic(prompt):
    text = spelt(prompt, "+-*=01234", 1)
    return [5 + eval(text.removesuffix("=")) % 5]


def modular_arithmetic_brackets(prompt):
    text = spelt(prompt, "+-*=()01234", 1)
    return [7 + eval(text.removesuffix("=")) % 5]


def solve_equation(prompt):
    assert prompt[-1] == ACT
    left, right = spelt(prompt[:-1], "+-*=()x01234", 2).split("=")
    (solution,) = [x for x in range(5) if eval(left, {"x": x}) % 5 == int(right)]
    return [9 + solution]


def string_of(prompt):
    assert prompt[-1] == ACT
    return prompt[:-1]


def missing_duplicate(prompt):
    string = string_of(prompt)
    first, second = string[: len(string) // 2], string[len(string) // 2 :]
    ((one, other),) = [pair for pair in zip(first, second, strict=True) if pair[0] != pair[1]]
    assert other == 2
    return [one]


def stack_manipulation(prompt):
    stack, tokens = [], iter(string_of(prompt))
    for token in tokens:
        if token == 2:
            stack.insert(0, next(tokens))
        elif token == 3:
            del stack[:1]
        else:
            stack.insert(0, token)
    return stack


def the_set(prompt):
    return [token for place, token in enumerate(string_of(prompt)) if token not in prompt[:place]]


def majority(prompt):
    (best, most), *others = collections.Counter(prompt).most_common()
    assert all(count < most for _, count in others)
    return [best]


ANSWERS = {
    "parity": parity,
    "even_pairs": even_pairs,
    "cycle_navigation": cycle_navigation,
    "modular_arithmetic": modular_arithmetic,
    "modular_arithmetic_brackets": modular_arithmetic_brackets,
    "solve_equation": solve_equation,
    "reverse_string": lambda prompt: string_of(prompt)[::-1],
    "stack_manipulation": stack_manipulation,
    "bucket_sort": lambda prompt: sorted(string_of(prompt)),
    "missing_duplicate": missing_duplicate,
    "odds_first": lambda prompt: [t for odd in (0, 1) for i, t in enumerate(string_of(prompt)) if i % 2 == odd],
    "repetition": string_of,
    "set": the_set,
    "majority": majority,
    "majority_count": lambda prompt: [min(max(prompt.count(token) for token in prompt), 63)],
}


def test_vocabularies_are_the_paper_s():
    assert {name: language.vocab_size for name, language in LANGUAGES.items()} == VOCABULARY


@pytest.mark.parametrize("name", LANGUAGES)
def test_answers_are_right(name):
    """At every number of steps from the shortest on. The rows use all steps, or all but one or two."""
    language, seen = LANGUAGES[name], set()
    for steps in [*range(language.shortest, 41), 150]:
        for _ in range(5):
            prompt, answer = (array.tolist() for array in language.example(RNG, steps))
            assert answer == ANSWERS[name](prompt)
            used = len(prompt) + len(answer) - 1
            assert used <= steps and (name in ("set", "stack_manipulation") or used >= steps - 1)
            assert min(prompt + answer) >= 1 and max(prompt + answer) < language.vocab_size
            seen.update(answer)
    assert len(seen) <= language.choices
    assert len(seen) == language.choices or language.choices > 20


@pytest.mark.parametrize(
    "name", [n for n in LANGUAGES if n not in ("bucket_sort", "set", "majority", "majority_count")]
)
def test_no_answer_is_favoured(name):
    """The first token of the answers is spread over the choices, so that guessing gives the chance level.

    Except for sorted answers, which begin with a small symbol, and for languages with very many choices.
    """
    language = LANGUAGES[name]
    first = [int(language.example(RNG, 20)[1][0]) for _ in range(600)]
    counts = np.bincount(first)[np.unique(first)]
    # Products make zero more likely.
    assert len(counts) == language.choices and counts.max() < (3 if "arithmetic" in name else 1.5) * 600 / len(counts)


def test_lengths_are_spread():
    """Every number of steps from the shortest to the longest occurs, with the expected frequency."""
    batch = Examples(LANGUAGES["parity"], 3, 10).rows(RNG, 800)
    steps_B = batch.mask_BT.argmax(axis=1) + 1
    counts = np.bincount(steps_B, minlength=11)[3:]
    assert len(counts) == 8 and counts.min() > 60 and counts.max() < 140
    assert batch.inputs_BT.shape == (800, 10) and (batch.mask_BT.sum(axis=1) == 1).all()


def test_rows_are_read_from_left_to_right():
    """A row reads the prompt and the answer without its last token; each target is the next input."""
    rows = next_tokens([np.array([5, 6, 1]), np.array([7])], [np.array([8, 9]), np.array([3])], 6)
    np.testing.assert_array_equal(rows.inputs_BT, [[5, 6, 1, 8, 0, 0], [7, 0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(rows.targets_BT, [[0, 0, 8, 9, 0, 0], [3, 0, 0, 0, 0, 0]])
    np.testing.assert_array_equal(rows.mask_BT, rows.targets_BT > 0)
    np.testing.assert_array_equal(rows.lengths_B, [4, 1])
