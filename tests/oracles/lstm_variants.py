"""LSTMs other than the common one: the first, those with peepholes, with layer norm and with a projection.

Arguments and results are as in `classic`; the carry is (c, h), for full gate recurrence (c, h, gates).
"""

import numpy as np

from tests.oracles.classic import over_time, sigmoid


def lstm_1997(w, x, carry, reset, lengths):
    """Hochreiter & Schmidhuber 1997, "Long short-term memory", section 4 with the functions of appendix A.1.

    s = s + y_in g(net_c) and y_c = y_out h(s), with g(x) = 4 / (1 + e^-x) - 2 and h(x) = 2 / (1 + e^-x) - 1. A gate
    sees no state of a cell but its output. Order in, c, out.
    """
    b = w.get("b", 0.0)

    def step(state, x_t):
        s, y = state
        net_in, net_c, net_out = np.split(x_t @ w["w_x"] + y @ w["w_h"] + b, 3)
        y_in, y_out = 1 / (1 + np.exp(-net_in)), 1 / (1 + np.exp(-net_out))
        s = s + y_in * (4 / (1 + np.exp(-net_c)) - 2)
        y = y_out * (2 / (1 + np.exp(-s)) - 1)
        return [s, y], y

    return over_time(step, x, carry, reset, lengths)


def vanilla(w, x, carry, reset, lengths):
    """Greff et al. 2015 (arXiv 1503.04069), section II-A: tanh for g and h, and peepholes p in the order i, f, o."""
    b = w.get("b", 0.0)

    def step(state, x_t):
        c, y = state
        i, f, z, o = np.split(x_t @ w["w_x"] + y @ w["w_h"] + b, 4)
        z = np.tanh(z)
        i = sigmoid(i + w["p"][0] * c)
        f = sigmoid(f + w["p"][1] * c)
        c = z * i + c * f
        o = sigmoid(o + w["p"][2] * c)
        y = np.tanh(c) * o
        return [c, y], y

    return over_time(step, x, carry, reset, lengths)


def no_input_gate(w, x, carry, reset, lengths):
    """NIG of Greff et al. 2015, section III-C: i = 1. Order f, z, o."""
    b = w.get("b", 0.0)

    def step(state, x_t):
        c, y = state
        f, z, o = np.split(x_t @ w["w_x"] + y @ w["w_h"] + b, 3)
        c = np.tanh(z) + c * sigmoid(f + w["p"][0] * c)
        y = np.tanh(c) * sigmoid(o + w["p"][1] * c)
        return [c, y], y

    return over_time(step, x, carry, reset, lengths)


def no_forget_gate(w, x, carry, reset, lengths):
    """NFG of Greff et al. 2015, section III-C: f = 1. Order i, z, o."""
    b = w.get("b", 0.0)

    def step(state, x_t):
        c, y = state
        i, z, o = np.split(x_t @ w["w_x"] + y @ w["w_h"] + b, 3)
        c = np.tanh(z) * sigmoid(i + w["p"][0] * c) + c
        y = np.tanh(c) * sigmoid(o + w["p"][1] * c)
        return [c, y], y

    return over_time(step, x, carry, reset, lengths)


def no_output_gate(w, x, carry, reset, lengths):
    """NOG of Greff et al. 2015, section III-C: o = 1. Order i, f, z."""
    b = w.get("b", 0.0)

    def step(state, x_t):
        c, y = state
        i, f, z = np.split(x_t @ w["w_x"] + y @ w["w_h"] + b, 3)
        c = np.tanh(z) * sigmoid(i + w["p"][0] * c) + c * sigmoid(f + w["p"][1] * c)
        y = np.tanh(c)
        return [c, y], y

    return over_time(step, x, carry, reset, lengths)


def no_activation(w, x, carry, reset, lengths, which="input"):
    """NIAF and NOAF of Greff et al. 2015, section III-C: g(x) = x ("input"), or h(x) = x ("output")."""
    b = w.get("b", 0.0)

    def step(state, x_t):
        c, y = state
        i, f, z, o = np.split(x_t @ w["w_x"] + y @ w["w_h"] + b, 4)
        z = z if which == "input" else np.tanh(z)
        c = z * sigmoid(i + w["p"][0] * c) + c * sigmoid(f + w["p"][1] * c)
        y = (c if which == "output" else np.tanh(c)) * sigmoid(o + w["p"][2] * c)
        return [c, y], y

    return over_time(step, x, carry, reset, lengths)


def coupled(w, x, carry, reset, lengths):
    """CIFG of Greff et al. 2015, section III-C: f = 1 - i. Order i, z, o."""
    b = w.get("b", 0.0)

    def step(state, x_t):
        c, y = state
        i, z, o = np.split(x_t @ w["w_x"] + y @ w["w_h"] + b, 3)
        i = sigmoid(i + w["p"][0] * c)
        c = np.tanh(z) * i + c * (1 - i)
        y = np.tanh(c) * sigmoid(o + w["p"][1] * c)
        return [c, y], y

    return over_time(step, x, carry, reset, lengths)


def full_gate_recurrence(w, x, carry, reset, lengths):
    """FGR of Greff et al. 2015, section III-C: nine matrices from the last i, f, o to i, f, o.

    w_g [3F, 3F] holds them, rows for the gates they come from; the carry's last leaf is i, f, o side by side.
    """
    b = w.get("b", 0.0)
    (R_ii, R_if, R_io), (R_fi, R_ff, R_fo), (R_oi, R_of, R_oo) = (
        np.split(rows, 3, axis=1) for rows in np.split(w["w_g"], 3)
    )

    def step(state, x_t):
        c, y, gates = state
        last_i, last_f, last_o = np.split(gates, 3)
        i, f, z, o = np.split(x_t @ w["w_x"] + y @ w["w_h"] + b, 4)
        i = sigmoid(i + w["p"][0] * c + last_i @ R_ii + last_f @ R_fi + last_o @ R_oi)
        f = sigmoid(f + w["p"][1] * c + last_i @ R_if + last_f @ R_ff + last_o @ R_of)
        c = np.tanh(z) * i + c * f
        o = sigmoid(o + w["p"][2] * c + last_i @ R_io + last_f @ R_fo + last_o @ R_oo)
        y = np.tanh(c) * o
        return [c, y, np.concatenate([i, f, o])], y

    return over_time(step, x, carry, reset, lengths)


def layer_norm(w, x, carry, reset, lengths, eps=1e-5):
    """Ba, Kiros & Hinton 2016 (arXiv 1607.06450), equations 20-22, normalized as in equation 3 with eps in the root.

    The first two norms share one bias, the b of equation 20. Order i, f, z, o.
    """
    b, b_c = w.get("b", 0.0), w.get("b_c", 0.0)

    def norm(a):
        mean = sum(a) / len(a)
        return (a - mean) / np.sqrt(sum((a - mean) ** 2) / len(a) + eps)

    def step(state, x_t):
        c, h = state
        i, f, z, o = np.split(norm(h @ w["w_h"]) * w["g_h"] + norm(x_t @ w["w_x"]) * w["g_x"] + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        h = sigmoid(o) * np.tanh(norm(c) * w["g_c"] + b_c)
        return [c, h], h

    return over_time(step, x, carry, reset, lengths)


def projected(w, x, carry, reset, lengths):
    """Sak, Senior & Beaufays 2014 (arXiv 1402.1128), equations 7-12 without peepholes: the cells' m times w_p is fed
    back and is the output. Order i, f, z, o."""
    b = w.get("b", 0.0)

    def step(state, x_t):
        c, r = state
        i, f, z, o = np.split(x_t @ w["w_x"] + r @ w["w_h"] + b, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(z)
        m = sigmoid(o) * np.tanh(c)
        r = m @ w["w_p"]
        return [c, r], r

    return over_time(step, x, carry, reset, lengths)
