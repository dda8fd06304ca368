"""Strings of the embedded Reber grammar.

The inner grammar (Reber 1967) leads from node 0 to node 5. Each node's two edges have equal probability:

    0: T -> 1, P -> 2    1: S -> 1, X -> 3    2: T -> 2, V -> 4    3: X -> 2, S -> 5    4: P -> 3, V -> 5

A Reber string is B, the symbols along the path, E. The embedded grammar (Hochreiter & Schmidhuber 1997, experiment 1)
is B T <Reber string> T E or B P <Reber string> P E: the last symbol but one repeats the second symbol, and nothing in
between reveals it.
"""

import dataclasses
import functools

import numpy as np

from xlstm_jax.data.problems.legal_symbols import LegalRows, next_symbols

SYMBOLS = ".BTPSXVE"  # by token; the first is padding
INNER = {
    0: (("T", 1), ("P", 2)),
    1: (("S", 1), ("X", 3)),
    2: (("T", 2), ("V", 4)),
    3: (("X", 2), ("S", 5)),
    4: (("P", 3), ("V", 5)),
}
SHORTEST = 8  # steps of the shortest strings, such as BTBTXSETE, whose last symbol is only predicted


def _grammar() -> dict:
    """The edges of each node, as (symbol, next node); the node "end" has none."""
    ways = {"start": (("B", "first"),), "first": (("T", ("T", "B")), ("P", ("P", "B"))), "last": (("E", "end"),)}
    for outer in "TP":
        ways[outer, "B"] = (("B", (outer, 0)),)
        for node, inner in INNER.items():
            ways[outer, node] = tuple((symbol, (outer, to)) for symbol, to in inner)
        ways[outer, 5] = (("E", (outer, "E")),)
        ways[outer, "E"] = ((outer, "last"),)
    return ways | {"end": ()}


GRAMMAR = _grammar()
NODES = tuple(GRAMMAR)
# For each node, [S, 2]: the symbols of its two edges and the nodes they lead to. A node's only edge is listed twice;
# "end" leads to itself.
WAYS = [[*ways, *ways][:2] for ways in GRAMMAR.values()]
SYMBOL_S2 = np.array([[SYMBOLS.index(symbol) for symbol, _ in ways] or [0, 0] for ways in WAYS], np.int32)
NEXT_S2 = np.array([[NODES.index(to) for _, to in ways] or [NODES.index("end")] * 2 for ways in WAYS])
LEGAL_SA = np.any(SYMBOL_S2[:, :, None] == np.arange(len(SYMBOLS)), axis=1) & (np.arange(len(SYMBOLS)) > 0)


@dataclasses.dataclass(frozen=True)
class EmbeddedReber:
    """Strings of `shortest` to `length` steps, drawn from the grammar's distribution conditioned on that range.

    There is no rejection sampling: the length is drawn first, then each symbol given the number of symbols left. Both
    use the probabilities of `_ends`.
    """

    shortest: int
    length: int

    @functools.cached_property
    def _ends(self) -> tuple[np.ndarray, np.ndarray]:
        """P(L symbols left | node) [length + 2, S], each row divided by its maximum, and the log of each divisor."""
        ends_LS, log_scale_L = np.zeros((self.length + 2, len(NODES))), np.zeros(self.length + 2)
        ends_LS[0, NODES.index("end")] = 1
        for left in range(1, self.length + 2):
            row_S = np.mean(ends_LS[left - 1][NEXT_S2], axis=1)
            row_S[NODES.index("end")] = 0
            ends_LS[left] = row_S / np.max(row_S)
            log_scale_L[left] = log_scale_L[left - 1] + np.log(np.max(row_S))
        return ends_LS, log_scale_L

    @functools.cached_property
    def _length_probability_L(self) -> np.ndarray:
        """The probability of each number of symbols of a string."""
        ends_LS, log_scale_L = self._ends
        with np.errstate(divide="ignore"):  # lengths that no string has
            log_L = np.log(ends_LS[:, NODES.index("start")]) + log_scale_L
        log_L[: self.shortest + 1] = -np.inf
        probability_L = np.exp(log_L - np.max(log_L))
        return probability_L / np.sum(probability_L)

    def rows(self, rng: np.random.Generator, count: int) -> LegalRows:
        ends_LS, _ = self._ends
        length_B = rng.choice(self.length + 2, count, p=self._length_probability_L)
        chance_TB = rng.random((np.max(length_B), count))
        node_B = np.full(count, NODES.index("start"))
        nodes_TB, symbols_TB = [], []
        for step, chance_B in enumerate(chance_TB):
            left_B = np.maximum(length_B - step - 1, 0)  # 0 after a string's end
            weight_2B = ends_LS[left_B, NEXT_S2[node_B].T]
            way_B = (chance_B * np.sum(weight_2B, axis=0) >= weight_2B[0]).astype(int)
            symbols_TB.append(SYMBOL_S2[node_B, way_B])
            node_B = NEXT_S2[node_B, way_B]
            nodes_TB.append(node_B)
        symbols_BT, legal_BTA = np.stack(symbols_TB, axis=1), LEGAL_SA[np.stack(nodes_TB, axis=1)]
        strings = [symbols[:length] for symbols, length in zip(symbols_BT, length_B, strict=True)]
        legal = [legal_TA[: length - 1] for legal_TA, length in zip(legal_BTA, length_B, strict=True)]
        return next_symbols(strings, legal, self.length, len(SYMBOLS))
