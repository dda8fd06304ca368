"""Helpers for the tests of all ops: limits on errors, finite differences, and a pairwise selection of rows."""

import functools
import itertools
import random

import hypothesis
import jax
import numpy as np
import pytest

LIMITS = {"float32": (1e-5, 1e-4), "bfloat16": (5e-3, 1e-2)}  # outputs, gradients
# Each example that draws a shape compiles again, so examples are few, and the same in every run.
few = functools.partial(hypothesis.settings, derandomize=True, deadline=None, database=None)


def to_float64(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64), tree)


def error(got, wanted, scale: float = 0.0) -> float:
    """||got - wanted|| / ||wanted||, or / `scale` if that is larger; at least 1e-30, since float32 underflows near
    1e-38."""
    return float(np.linalg.norm(got - wanted) / max(np.linalg.norm(wanted), scale, 1e-30))


def directional_derivatives(loss, args, gradients, step):
    """Pairs (gradient . direction, finite difference), one random direction for each leaf of `args`.

    `loss` takes a tree like `args`; `gradients` are its leaves' gradients. Differences are of fourth order.
    """
    leaves, treedef = jax.tree.flatten(args)
    rng = np.random.default_rng(5)
    for index, gradient in enumerate(gradients):
        direction = rng.standard_normal(gradient.shape)

        def along(steps, index=index, direction=direction):
            moved = list(leaves)
            moved[index] = leaves[index] + steps * step * direction
            return loss(jax.tree.unflatten(treedef, moved))

        difference = (8 * (along(1) - along(-1)) - (along(2) - along(-2))) / (12 * step)
        yield float(np.vdot(gradient, direction)), float(difference)


def assert_gradients(run, args, weights, *, step, tolerance):
    """Checks by finite differences that `run(args)` returns outputs and gradients of <outputs, weights>, by name."""

    def loss(args):
        return sum(np.vdot(a, b) for a, b in zip(run(args)[0].values(), weights, strict=True))

    for got, wanted in directional_derivatives(loss, args, run(args)[1].values(), step):
        assert got == pytest.approx(wanted, rel=tolerance, abs=tolerance)


def pairs(row: dict) -> set:
    """All pairs of (dimension, value) of a row."""
    return set(itertools.combinations(sorted(row.items()), 2))


def pairwise(dimensions: dict[str, list], seed: int = 0) -> list[dict]:
    """A few rows in which every pair of values of two dimensions occurs at least once; the same rows every time.

    Greedy: each row starts from a pair that is still missing and is the best of several random completions.
    """
    rng = random.Random(seed)
    every = [{name: value} for name, values in dimensions.items() for value in values]
    missing = set().union(*(pairs(one | two) for one, two in itertools.combinations(every, 2) if not one.keys() & two))
    rows = []
    while missing:
        start = dict(rng.choice(sorted(missing)))
        candidates = [{name: rng.choice(values) for name, values in dimensions.items()} | start for _ in range(200)]
        rows.append(max(candidates, key=lambda row: len(pairs(row) & missing)))
        missing -= pairs(rows[-1])
    return rows
