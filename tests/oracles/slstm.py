"""The sLSTM, one sequence at a time."""

import numpy as np

from tests.oracles.classic import over_time, sigmoid


def log_gate(x, kind):
    return x if kind == "exp" else -np.logaddexp(0, -x)


def slstm(x, r, state, reset, lengths, input_gate="exp", forget_gate="sigmoid"):
    """Beck et al. 2024 (arXiv 2405.04517), equations 8-14 with the stabiliser of 15-17.

    x [B, T, 4, H, D] in the order i, f, z, o; r [4, H, D, D]; state (c, n, m, y), each [B, H, D]. A reset state has
    m = -inf, which stands for c e^m = n e^m = 0.
    """

    def step(state, x_t):
        c, n, m, y = state
        recurrent = np.stack([[y[h] @ r[g, h] for h in range(y.shape[0])] for g in range(4)])
        i, f, z, o = x_t + recurrent
        log_i, log_f = log_gate(i, input_gate), log_gate(f, forget_gate)
        m_new = np.maximum(log_f + m, log_i)
        i, f = np.exp(log_i - m_new), np.exp(log_f + m - m_new)
        c, n = f * c + i * np.tanh(z), f * n + i
        y = sigmoid(o) * c / n
        return [c, n, m_new, y], y

    return over_time(step, x, state, reset, lengths, start=(0.0, 0.0, -np.inf, 0.0))


def slstm_plain(x, r, input_gate="exp", forget_gate="sigmoid"):
    """The same from the empty state without the stabiliser (equations 8-14 alone), for gates that do not overflow.

    Returns y [B, T, H, D] and the true c and n.
    """
    shape = (x.shape[0], *x.shape[3:])
    c, n, y, outputs = np.zeros(shape), np.zeros(shape), np.zeros(shape), []
    for t in range(x.shape[1]):
        i, f, z, o = np.moveaxis(x[:, t] + np.einsum("bhd,ghde->bghe", y, r), 1, 0)
        i = np.exp(i) if input_gate == "exp" else sigmoid(i)
        f = np.exp(f) if forget_gate == "exp" else sigmoid(f)
        c, n = f * c + i * np.tanh(z), f * n + i
        y = sigmoid(o) * c / n
        outputs.append(y)
    return np.stack(outputs, axis=1), c, n


def slstm_cell(w, x, carry, reset, lengths, input_gate="exp", forget_gate="sigmoid"):
    """The cell: dense input projections w_x [D, 4F] and biases b [4, H, D] before `slstm`; y [B, T, F]."""
    u = (x @ w["w_x"]).reshape(*x.shape[:2], *w["b"].shape) + w["b"]
    y, carry = slstm(u, w["r"], carry, reset, lengths, input_gate, forget_gate)
    return y.reshape(*y.shape[:2], -1), carry
