"""The minimal gated unit, minGRU, minLSTM and RG-LRU; arguments and results are as in `classic`, the carry is (h,)."""

import numpy as np

from tests.oracles.classic import over_time, sigmoid


def mgu(w, x, carry, reset, lengths):
    """Zhou et al. 2016 (arXiv 1603.09420), equations 8: one gate forgets, and resets before the product. Order f, n."""
    b = w.get("b", 0.0)

    def step(state, x_t):
        (h,) = state
        u_f, u_n = np.split(x_t @ w["w_x"] + b, 2)
        f = sigmoid(u_f + h @ w["w_h"])
        candidate = np.tanh(u_n + (f * h) @ w["w_n"])
        h = (1 - f) * h + f * candidate
        return [h], h

    return over_time(step, x, carry, reset, lengths)


def candidate_of(x, activation):
    """Feng et al. 2024 (arXiv 2410.01201): x itself (section 3), or the g of appendix B, which is positive."""
    if activation == "identity":
        return x
    return np.array([value + 0.5 if value >= 0 else sigmoid(value) for value in x])


def mingru(w, x, carry, reset, lengths, activation="identity"):
    """Feng et al. 2024 (arXiv 2410.01201), section 3.1. Order z, n."""
    b = w.get("b", 0.0)

    def step(state, x_t):
        (h,) = state
        z, n = np.split(x_t @ w["w_x"] + b, 2)
        h = (1 - sigmoid(z)) * h + sigmoid(z) * candidate_of(n, activation)
        return [h], h

    return over_time(step, x, carry, reset, lengths)


def minlstm(w, x, carry, reset, lengths, activation="identity"):
    """Feng et al. 2024 (arXiv 2410.01201), section 3.2: the gates are divided by their sum. Order f, i, n."""
    b = w.get("b", 0.0)

    def step(state, x_t):
        (h,) = state
        f, i, n = np.split(x_t @ w["w_x"] + b, 3)
        f, i = sigmoid(f), sigmoid(i)
        h = f / (f + i) * h + i / (f + i) * candidate_of(n, activation)
        return [h], h

    return over_time(step, x, carry, reset, lengths)


def rglru(w, x, carry, reset, lengths):
    """De et al. 2024 (arXiv 2402.19427), equations 1 to 4: a = sigmoid(lambda), a_t = a^(8 r_t)."""

    def mapped(x_t, name):
        parts = np.split(x_t, len(w[f"w_{name}"]))
        return np.concatenate([part @ block for part, block in zip(parts, w[f"w_{name}"], strict=True)])

    def step(state, x_t):
        (h,) = state
        r, i = (sigmoid(mapped(x_t, name) + w[f"b_{name}"]) for name in "ri")
        a = sigmoid(w["lambda"]) ** (8 * r)
        h = a * h + np.sqrt(1 - a**2) * (i * x_t)
        return [h], h

    return over_time(step, x, carry, reset, lengths)
