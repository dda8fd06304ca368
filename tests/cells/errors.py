"""Errors of the cells compared with their oracles, for the tests and as a table: `python -m tests.cells.errors`."""

import functools
import os
from typing import NamedTuple

# JAX reads this when it starts its backend, so it must be set before the first import of jax.
os.environ["JAX_PLATFORMS"] = "cpu"

import jax
import jax.numpy as jnp
import numpy as np

from tests.oracles import classic, convlstm, grud, lstm_variants, minimal, mlstm, slstm, treelstm
from xlstm_jax.ops.tree import forest, tree_recurrence
from xlstm_jax.testing.cells import T, compiled
from xlstm_jax.testing.examples import Example, examples


def _heads(oracle):
    return lambda config: functools.partial(oracle, input_gate=config.input_gate, forget_gate=config.forget_gate)


# From a cell's config to its oracle: a function of (weights, x, carry, reset, lengths), or (weights, x, children).
ORACLES = {
    "rnn": lambda config: functools.partial(classic.rnn, activation=config.activation),
    "lstm": lambda config: classic.lstm,
    "lstm_1997": lambda config: lstm_variants.lstm_1997,
    "lstm_peephole": lambda config: lstm_variants.vanilla,
    "lstm_nig": lambda config: lstm_variants.no_input_gate,
    "lstm_nfg": lambda config: lstm_variants.no_forget_gate,
    "lstm_nog": lambda config: lstm_variants.no_output_gate,
    "lstm_niaf": lambda config: functools.partial(lstm_variants.no_activation, which="input"),
    "lstm_noaf": lambda config: functools.partial(lstm_variants.no_activation, which="output"),
    "lstm_cifg": lambda config: lstm_variants.coupled,
    "lstm_fgr": lambda config: lstm_variants.full_gate_recurrence,
    "lstm_ln": lambda config: lstm_variants.layer_norm,
    "lstm_projected": lambda config: lstm_variants.projected,
    "gru": lambda config: functools.partial(classic.gru, reset=config.reset),
    "mgu": lambda config: minimal.mgu,
    "grud": lambda config: grud.grud,
    "mingru": lambda config: functools.partial(minimal.mingru, activation=config.activation),
    "minlstm": lambda config: functools.partial(minimal.minlstm, activation=config.activation),
    "rglru": lambda config: minimal.rglru,
    "convlstm": lambda config: convlstm.convlstm,
    "slstm": _heads(slstm.slstm_cell),
    "mlstm": _heads(mlstm.mlstm_cell),
    "treelstm_childsum": lambda config: treelstm.childsum,
    "treelstm_nary": lambda config: treelstm.nary,
    "rntn": lambda config: treelstm.rntn,
}
# Cells that store their state in a free scale: derivatives with respect to the stored state have no meaning.
SCALED = ("slstm", "mlstm")

LENGTHS = np.array([T, T - 2])
RESET = np.zeros((2, T), bool)
RESET[0, 4] = RESET[1, [0, 3]] = True
# A tree with empty places, a graph with a node that has two parents, and a single node.
CHILDREN = np.full((10, 3), -1)
CHILDREN[[1, 3, 5, 7]] = [0, -1, 2], [-1, 1, 4], [6, 7, 8], [8, -1, -1]

DIRECTIONS = 4
STEP = 2e-6  # of the differences; small because of the kink of a ReLU and the curvature of an mLSTM with n.q near zero


class Errors(NamedTuple):
    """Errors relative to the oracle's norm, for the worst leaf of the state and the worst argument's gradient."""

    outputs: float
    state: float
    gradients: float


def error(got, wanted) -> float:
    """||got - wanted|| / ||wanted||, or ||got|| if `wanted` is zero."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted)
    return float(np.linalg.norm(got - wanted) / (np.linalg.norm(wanted) or 1.0))


def cell_name(example: Example) -> str:
    """The example's name without its options."""
    return example.name.split("-")[0]


def measure(example: Example, dtype) -> Errors:
    """The errors of one example, with resets, padding and an initial carry, or on a small forest.

    Gradients are those of a random sum over the outputs and the last state, with respect to weights, inputs and initial
    carry. For each leaf, derivatives along a few random directions are compared with finite differences of the oracle.
    Averaged over directions, the error of these derivatives is that of the gradient.
    """
    oracle, rng = ORACLES[cell_name(example)](example.config), np.random.default_rng(5)
    with jax.enable_x64(dtype == np.float64):
        pull, oracle_run, args = (_tree if example.cell.kind == "tree" else _sequence)(example, oracle, dtype)
        exact = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), _plain(args))
        wanted, wanted_state = oracle_run(*exact)
        factors = [rng.standard_normal(leaf.shape) for leaf in (wanted, *wanted_state)]
        if cell_name(example) in SCALED:
            factors[1:] = [np.zeros_like(leaf) for leaf in factors[1:]]

        (y, state), gradient = pull(args, [jnp.asarray(leaf, dtype) for leaf in factors])
    assert y.dtype == dtype
    leaves, structure = jax.tree.flatten(exact)

    def loss(leaves):
        y, state = oracle_run(*jax.tree.unflatten(structure, leaves))
        return sum(np.vdot(a, b) for a, b in zip(factors, (y, *state), strict=True))

    # Pooled over all leaves of an argument: the gradient of a single one, such as a scale, may nearly vanish.
    slopes, owners = [([], []) for _ in exact], [n for n, arg in enumerate(exact) for _ in jax.tree.leaves(arg)]
    for n, (owner, leaf) in enumerate(zip(owners, jax.tree.leaves(gradient), strict=True)):
        for direction in rng.standard_normal((DIRECTIONS, *leaf.shape)):
            slopes[owner][0].append(np.vdot(np.asarray(leaf, np.float64), direction))
            slopes[owner][1].append(_slope(loss, leaves, n, direction))
    return Errors(
        outputs=error(y, wanted),
        state=max(error(a, b) for a, b in zip(jax.tree.leaves(state), wanted_state, strict=True)),
        gradients=max(error(*pair) for pair in slopes),
    )


def _slope(loss, leaves, n, direction) -> float:
    """The derivative of the loss along a direction of leaf n, by fourth-order differences."""

    def at(steps):
        return loss([*leaves[:n], leaves[n] + steps * STEP * direction, *leaves[n + 1 :]])

    return (at(-2) - 8 * at(-1) + 8 * at(1) - at(2)) / (12 * STEP)


def _plain(args):
    """Weights as a dict and states as tuples, as the oracles expect, with leaves in the same order."""
    params, x, *carry = args
    return dict(params), x, *(tuple(leaves) for leaves in carry)


def _sequence(example: Example, oracle, dtype):
    """Values and gradients of the cell over time, its oracle, and the arguments: weights, inputs and the carry after
    some steps."""
    params, x, start = example.params(dtype), example.inputs(T, dtype), example.start(dtype)
    earlier = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), (params, x[:, ::-1], start))
    _, leaves = oracle(*_plain(earlier), np.zeros_like(RESET), np.full_like(LENGTHS, T))
    carry = jax.tree.unflatten(jax.tree.structure(start), [jnp.asarray(leaf, dtype) for leaf in leaves])

    def pull(args, factors):
        run, pullback, _ = compiled(example)
        out = run(*args, LENGTHS, RESET)
        return out, pullback(*jax.tree.unflatten(jax.tree.structure(out), factors), *args, LENGTHS, RESET)

    return pull, lambda w, x, carry: oracle(w, x, carry, RESET, LENGTHS), (params, x, carry)


def _tree(example: Example, oracle, dtype):
    """Values and gradients of the cell over a forest, its oracle, and the arguments: weights and the nodes' inputs."""
    shape = forest(CHILDREN)

    @jax.jit
    def pull(args, factors):
        out, pullback = jax.vjp(lambda args: tree_recurrence(example.cell, *args, shape), args)
        return out, pullback(jax.tree.unflatten(jax.tree.structure(out), factors))[0]

    return pull, lambda w, x: oracle(w, x, CHILDREN), (example.params(dtype), example.nodes(len(CHILDREN), dtype))


def main() -> None:
    """Prints a Markdown table with the largest errors of each cell over its options."""
    print("| cell | float64 outputs | float64 gradients | float32 outputs | float32 gradients |")
    print("|---|---|---|---|---|")
    every = examples("sequence") + examples("tree")
    for name in dict.fromkeys(map(cell_name, every)):
        row = []
        for dtype in (np.float64, np.float32):
            found = [measure(example, dtype) for example in every if cell_name(example) == name]
            row += [max(max(e.outputs, e.state) for e in found), max(e.gradients for e in found)]
        print(f"| {name} | " + " | ".join(f"{value:.1e}" for value in row) + " |", flush=True)


if __name__ == "__main__":
    main()
