"""The GRU-D; arguments and results are as in `classic`, the carry is (h, last measured values)."""

import numpy as np

from tests.oracles.classic import over_time, sigmoid


def grud(w, x, carry, reset, lengths):
    """Che et al. 2018 (arXiv 1606.01865), the model with input decay and hidden decay, for means of zero.

    A row of x has the values, the mask and the gaps of all variables. Order z, r, n.
    """
    count = len(w["w_gx"])
    w_z, w_r, w_n = np.split(w["w_x"], 3, axis=1)
    v_z, v_r, v_n = np.split(w["v"], 3, axis=1)
    u_z, u_r = np.split(w["w_h"], 2, axis=1)
    b_z, b_r, b_n = np.split(w["b"], 3) if "b" in w else (0.0, 0.0, 0.0)

    def step(state, row):
        h, last = state
        values, mask, gaps = row[:count], row[count : 2 * count], row[2 * count :]
        decay_x = np.exp(-np.maximum(0, np.diag(w["w_gx"]) @ gaps + w.get("b_gx", 0.0)))
        decay_h = np.exp(-np.maximum(0, gaps @ w["w_gh"] + w.get("b_gh", 0.0)))
        filled = mask * values + (1 - mask) * (decay_x * last + (1 - decay_x) * 0.0)
        h = decay_h * h
        z = sigmoid(filled @ w_z + h @ u_z + mask @ v_z + b_z)
        r = sigmoid(filled @ w_r + h @ u_r + mask @ v_r + b_r)
        candidate = np.tanh(filled @ w_n + (r * h) @ w["w_n"] + mask @ v_n + b_n)
        h = (1 - z) * h + z * candidate
        return [h, mask * values + (1 - mask) * last], h

    return over_time(step, x, carry, reset, lengths)
