"""Checks expressions by rewriting them as Python calls and evaluating these."""

import random

import numpy as np
import pytest

from xlstm_jax.data.problems.listops import SYMBOLS, ListOps, expression
from xlstm_jax.errors import UsageError

CALLS = {
    "MIN": lambda *digits: min(digits),
    "MAX": lambda *digits: max(digits),
    "MED": lambda *digits: int(np.median(digits)),
    "SM": lambda *digits: sum(digits) % 10,
}


def read(tokens):
    return [SYMBOLS[token] for token in tokens]


def evaluated(symbols):
    call = ", ".join(f"{s[1:]}(" if s[0] == "[" else ")" if s == "]" else s for s in symbols).replace("(, ", "(")
    return eval(call.replace(", )", ")"), {"__builtins__": {}}, CALLS)


def measured(symbols):
    """The maximum nesting, and the number of arguments of each operation, the outermost last."""
    counts, open_counts, depth = [], [], 0
    for symbol in symbols:
        if symbol == "]":
            counts.append(open_counts.pop())
            continue
        if open_counts:
            open_counts[-1] += 1
        if symbol[0] == "[":
            open_counts.append(0)
            depth = max(depth, len(open_counts))
    assert not open_counts
    return depth, counts


@pytest.mark.parametrize("depth, arguments, shortest, length", [(10, 5, 4, 128), (3, 10, 20, 60), (1, 2, 4, 4)])
def test_rows_are_expressions_with_their_values(depth, arguments, shortest, length):
    batch = ListOps(depth, arguments, shortest, length).rows(np.random.default_rng(0), 200)
    assert np.array_equal(batch.lengths_B, np.count_nonzero(batch.inputs_BT, axis=1))
    for row in range(200):
        steps = np.count_nonzero(batch.inputs_BT[row])
        symbols = read(batch.inputs_BT[row, :steps])
        reached, counts = measured(symbols)
        assert shortest <= steps <= length and reached <= depth
        assert min(counts) >= 2 and max(counts) <= arguments
        assert (
            np.flatnonzero(batch.mask_BT[row]).tolist() == [steps - 1] == np.flatnonzero(batch.targets_BT[row]).tolist()
        )
        assert SYMBOLS[batch.targets_BT[row, steps - 1]] == str(evaluated(symbols))


def test_draws_have_the_probabilities_of_the_definition():
    uniform = random.Random(1).random
    drawn = [read(expression(uniform, 2, 4, 1000)) for _ in range(3000)]
    symbols, counts, nested, could = [], [], 0, 0
    for tokens in drawn:
        reached, own = measured(tokens)
        assert reached <= 2
        symbols += tokens
        counts += own
        nested, could = nested + len(own) - 1, could + own[-1]  # at depth 2 only the outermost arguments nest
    assert nested / could == pytest.approx(0.25, abs=0.02)
    for n in (2, 3, 4):
        assert counts.count(n) / len(counts) == pytest.approx(1 / 3, abs=0.03)
    for kinds in ("0123456789", [f"[{name}" for name in CALLS]):
        each = [symbols.count(kind) for kind in kinds]
        assert np.allclose(each, np.mean(each), rtol=0.1)


def test_an_expression_that_does_not_fit_is_given_up():
    """Expressions of up to exactly the maximum length occur."""
    uniform = random.Random(2).random
    for longest in (4, 9, 20):
        lengths = [len(tokens) for _ in range(500) if (tokens := expression(uniform, 3, 3, longest)) is not None]
        assert max(lengths) == longest and len(lengths) < 500


@pytest.mark.parametrize("arguments", [(1, 3, 6, 20), (10, 5, 1, 3)])
def test_lengths_that_no_expression_has(arguments):
    with pytest.raises(UsageError, match=r"has \d+ to \d+ steps; allow other lengths"):
        ListOps(*arguments)
