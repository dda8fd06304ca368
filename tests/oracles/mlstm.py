"""The mLSTM, one sequence at a time."""

import numpy as np

from tests.oracles.classic import over_time, sigmoid
from tests.oracles.slstm import log_gate


def mlstm(
    q, k, v, i, f, state, reset, lengths, input_gate="exp", forget_gate="sigmoid", normalize=True, eps=0.0, output=None
):
    """Beck et al. 2024 (arXiv 2405.04517), equations 19-27, stabilised as in equation 15.

    q, k [B, T, H, K], v [B, T, H, V], gate pre-activations i, f [B, T, H], state (C, n, m); q is scaled by 1/sqrt(K)
    (the paper scales k). With a sigmoid input gate m stays 0. `output` [B, T, H, V], if given, multiplies h.
    """
    heads, keys, values = q.shape[2], q.shape[3], v.shape[3]
    log_i, log_f = log_gate(i, input_gate)[..., None], log_gate(f, forget_gate)[..., None]
    output = np.ones_like(v) if output is None else output
    packed = np.concatenate([q * keys**-0.5, k, v, log_i, log_f, output], axis=-1)
    cuts = np.cumsum([keys, keys, values, 1, 1])

    def step(state, inputs):
        C, n, m = state
        q_t, k_t, v_t, log_i_t, log_f_t, o_t = np.split(inputs, cuts, axis=-1)
        m_new = np.maximum(log_f_t[:, 0] + m, log_i_t[:, 0]) if input_gate == "exp" else np.zeros(heads)
        decay, write = np.exp(log_f_t[:, 0] + m - m_new), np.exp(log_i_t[:, 0] - m_new)
        h = np.empty((heads, values))
        C, n = C.copy(), n.copy()
        for j in range(heads):
            C[j] = decay[j] * C[j] + write[j] * np.outer(k_t[j], v_t[j])
            n[j] = decay[j] * n[j] + write[j] * k_t[j]
            h[j] = C[j].T @ q_t[j]
            if normalize:
                floor = max(np.exp(-m_new[j]), np.finfo(np.float64).tiny)
                h[j] /= max(abs(n[j] @ q_t[j]), floor) + eps
        return [C, n, m_new], o_t * h

    return over_time(step, packed, state, reset, lengths)


def mlstm_plain(q, k, v, i, f, input_gate="exp", forget_gate="sigmoid", normalize=True):
    """The same from the zero state without the stabiliser (equations 19-27 alone), for gates that do not overflow.

    Returns h and the true C and n.
    """
    batch, time, heads, keys = q.shape
    C, n, outputs = np.zeros((batch, heads, keys, v.shape[3])), np.zeros((batch, heads, keys)), []
    i = np.exp(i) if input_gate == "exp" else sigmoid(i)
    f = np.exp(f) if forget_gate == "exp" else sigmoid(f)
    for t in range(time):
        C = f[:, t, :, None, None] * C + i[:, t, :, None, None] * k[:, t, :, :, None] * v[:, t, :, None, :]
        n = f[:, t, :, None] * n + i[:, t, :, None] * k[:, t]
        h = np.einsum("bhkv,bhk->bhv", C, q[:, t]) * keys**-0.5
        if normalize:
            h = h / np.maximum(np.abs(np.sum(n * q[:, t], axis=-1)) * keys**-0.5, 1)[..., None]
        outputs.append(h)
    return np.stack(outputs, axis=1), C, n


def mlstm_cell(w, x, carry, reset, lengths, input_gate="exp", forget_gate="sigmoid"):
    """The cell: q, k, v, o and gates by dense projections, y = sigmoid(o) h (Beck et al. 2024, equations 21-27)."""
    features, heads = w["w_qkvo"].shape[1] // 4, w["w_if"].shape[1] // 2
    q, k, v, o = (part.reshape(*x.shape[:2], heads, -1) for part in np.split(x @ w["w_qkvo"] + w["b_qkvo"], 4, axis=-1))
    i, f = np.split(x @ w["w_if"] + w["b_if"], 2, axis=-1)
    y, carry = mlstm(q, k, v, i, f, carry, reset, lengths, input_gate, forget_gate, output=sigmoid(o))
    return y.reshape(*x.shape[:2], features), carry
