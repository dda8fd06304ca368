"""The tree LSTMs and the recursive neural tensor network, one node at a time.

Each takes weights as the cell lays them out, node inputs x [N, D] and children [N, C] (-1 where there is none) and
returns y [N, F] and the states (c, h), or (h,), each [N, F]. Gates are in the order f, i, u, o.
"""

import numpy as np

from tests.oracles.classic import sigmoid


def over_trees(node, x, children):
    """y and the states of all nodes from `node(x_j, {place: (..., h)}) -> (..., h)`, children first."""
    done = {}

    def state(j):
        if j not in done:
            done[j] = node(x[j], {place: state(k) for place, k in enumerate(children[j]) if k >= 0})
        return done[j]

    states = tuple(np.stack(leaves) for leaves in zip(*[state(j) for j in range(len(x))], strict=True))
    return states[-1], states


def childsum(w, x, children):
    """Tai, Socher & Manning 2015 (arXiv 1503.00075), equations 2-8; w_f for the forget gates, w_h for i, u, o."""
    features, b = w["w_f"].shape[0], w.get("b", 0.0)

    def node(x_j, below):
        W_f, W_i, W_u, W_o = np.split(x_j @ w["w_x"] + b, 4)
        U_i, U_u, U_o = np.split(w["w_h"], 3, axis=1)
        h_sum = np.zeros(features)
        for _, h_k in below.values():
            h_sum = h_sum + h_k
        i, o, u = sigmoid(W_i + h_sum @ U_i), sigmoid(W_o + h_sum @ U_o), np.tanh(W_u + h_sum @ U_u)
        c = i * u
        for c_k, h_k in below.values():
            c = c + sigmoid(W_f + h_k @ w["w_f"]) * c_k
        return c, o * np.tanh(c)

    return over_trees(node, x, children)


def nary(w, x, children):
    """Tai, Socher & Manning 2015 (arXiv 1503.00075), equations 9-14.

    w_h [C F, (C + 3) F]: U[l][k] from child l to the forget gate of child k for k < C, then to i, u, o.
    """
    features, b = w["w_x"].shape[1] // 4, w.get("b", 0.0)
    places = w["w_h"].shape[0] // features
    U = [np.split(rows, places + 3, axis=1) for rows in np.split(w["w_h"], places)]

    def node(x_j, below):
        W_f, W_i, W_u, W_o = np.split(x_j @ w["w_x"] + b, 4)

        def fed(k):
            return sum((h_l @ U[place][k] for place, (_, h_l) in below.items()), np.zeros(features))

        i, u, o = sigmoid(W_i + fed(places)), np.tanh(W_u + fed(places + 1)), sigmoid(W_o + fed(places + 2))
        c = i * u
        for place, (c_k, _) in below.items():
            c = c + sigmoid(W_f + fed(place)) * c_k
        return c, o * np.tanh(c)

    return over_trees(node, x, children)


def rntn(w, x, children):
    """Socher et al. 2013, equation 2: feature f of a node adds p^T V_f p, where p concatenates the children's h."""
    features, b = w["w_x"].shape[1], w.get("b", 0.0)
    wide = w["w_h"].shape[0]
    V = w["w_v"].reshape(wide, wide, features)

    def node(x_j, below):
        p = np.zeros(wide)
        for place, (h_k,) in below.items():
            p[place * features : (place + 1) * features] = h_k
        tensor = np.array([p @ V[:, :, f] @ p for f in range(features)])
        return (np.tanh(x_j @ w["w_x"] + p @ w["w_h"] + tensor + b),)

    return over_trees(node, x, children)
