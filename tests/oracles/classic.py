"""The simple RNN, the LSTM and the GRU, one sequence at a time.

Each takes weights as the cell lays them out, x [B, T, D], a carry of arrays [B, F] and returns y [B, T, F] and the
carry. `reset` [B, T] puts a zero state before a step; steps from `lengths` [B] on are not taken. Weights without a
bias "b" stand for a bias of zero.
"""

import numpy as np


def sigmoid(x):
    return np.exp(-np.logaddexp(0, -x))


def over_time(step, x, carry, reset, lengths, start=None):
    """y and the last carry from `step(carry, x_t) -> (carry, y_t)`; a reset fills the carry's leaves with `start`."""
    start = start or (0.0,) * len(carry)
    outputs, carries = [], []
    for b in range(x.shape[0]):
        state = [np.asarray(leaf[b], np.float64) for leaf in carry]
        y = [np.zeros_like(step(state, x[b, 0])[1])] * x.shape[1]
        for t in range(lengths[b]):
            if reset[b, t]:
                state = [np.full_like(leaf, value) for leaf, value in zip(state, start, strict=True)]
            state, y[t] = step(state, x[b, t])
        outputs.append(np.stack(y))
        carries.append(state)
    return np.stack(outputs), tuple(np.stack(leaves) for leaves in zip(*carries, strict=True))


def rnn(w, x, carry, reset, lengths, activation="tanh"):
    """Elman 1990, "Finding structure in time", figure 2: h' = phi(W_x x + W_h h + b)."""

    b = w.get("b", 0.0)

    def step(state, x_t):
        pre = x_t @ w["w_x"] + state[0] @ w["w_h"] + b
        h = np.tanh(pre) if activation == "tanh" else np.maximum(pre, 0)
        return [h], h

    return over_time(step, x, carry, reset, lengths)


def lstm(w, x, carry, reset, lengths):
    """Gers, Schmidhuber & Cummins 2000, "Learning to forget", equations 1-4 and 8-10, with tanh for g and h.

    Gates stand in the order i, f, z, o; the carry is (c, h).
    """

    b = w.get("b", 0.0)

    def step(state, x_t):
        c, h = state
        i, f, z, o = np.split(x_t @ w["w_x"] + h @ w["w_h"] + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        h = sigmoid(o) * np.tanh(c)
        return [c, h], h

    return over_time(step, x, carry, reset, lengths)


def gru(w, x, carry, reset_steps, lengths, reset="after"):
    """Cho et al. 2014 (arXiv 1406.1078), equations 5-8, the reset gate inside the product ("before").

    "after": Chung et al. 2014 (arXiv 1412.3555) as cuDNN has it, the reset gate on the product and on a second bias
    b_r, if there is one. Order r, z, n.
    """
    b, b_r = w.get("b", 0.0), w.get("b_r", 0.0)
    joined = np.concatenate([w["w_h"], w["w_n"]], axis=1) if reset == "before" else w["w_h"]
    w_r, w_z, w_n = np.split(joined, 3, axis=1)

    def step(state, x_t):
        (h,) = state
        u_r, u_z, u_n = np.split(x_t @ w["w_x"] + b, 3)
        r, z = sigmoid(u_r + h @ w_r), sigmoid(u_z + h @ w_z)
        n = np.tanh(u_n + (r * (h @ w_n + b_r) if reset == "after" else (r * h) @ w_n))
        h = z * h + (1 - z) * n
        return [h], h

    return over_time(step, x, carry, reset_steps, lengths)
