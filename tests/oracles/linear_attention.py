"""Linear recurrences with a scalar gate a head, step by step. Complex inputs pass, for derivatives by complex steps."""

import numpy as np


def retention(q, k, v, log_decay, state, reset, lengths):
    """Sun et al. 2023 (arXiv 2307.08621), equation 6: S_n = gamma S_{n-1} + K_n^T V_n, o_n = Q_n S_n.

    q, k [B, T, H, K], v [B, T, H, V], log gamma [H], S [B, H, K, V]. Returns o [B, T, H, V] and the last S.
    """
    gamma, outputs, states = np.exp(log_decay), np.zeros(v.shape, np.result_type(q, k, v, log_decay, state)), []
    for b, h in np.ndindex(v.shape[0], v.shape[2]):
        S = state[b, h]
        for t in range(lengths[b]):
            S = np.zeros_like(S) if reset[b, t] else S
            S = gamma[h] * S + np.outer(k[b, t, h], v[b, t, h])
            outputs[b, t, h] = q[b, t, h] @ S
        states.append(S)
    return outputs, np.stack(states).reshape(state.shape)


def default_log_decay(heads):
    """Sun et al. 2023, equation 8: gamma = 1 - 2^(-5 - arange(0, h))."""
    return np.log([1 - 2.0 ** (-5 - head) for head in range(heads)])


def gated_linear_attention(q, k, v, log_f, state, reset, lengths):
    """Yang et al. 2023 (arXiv 2312.06635), section 4.1: S_t = Diag(alpha_t) S_{t-1} + k_t^T v_t, o_t = q_t S_t.

    With every entry of alpha_t the scalar f; q, k [B, T, H, K], v [B, T, H, V], log f [B, T, H], S [B, H, K, V].
    """
    outputs, states = np.zeros(v.shape, np.result_type(q, k, v, log_f, state)), []
    for b, h in np.ndindex(v.shape[0], v.shape[2]):
        S = state[b, h]
        for t in range(lengths[b]):
            S = np.zeros_like(S) if reset[b, t] else S
            alpha = np.full(S.shape[0], np.exp(log_f[b, t, h]))
            S = np.diag(alpha) @ S + np.outer(k[b, t, h], v[b, t, h])
            outputs[b, t, h] = q[b, t, h] @ S
        states.append(S)
    return outputs, np.stack(states).reshape(state.shape)


def ssd(x, dt, A, B, C, D, state, reset, lengths):
    """Dao & Gu 2024 (arXiv 2405.21060), equation 2, a feature p at a time: h_t = e^(dt A) h_{t-1} + dt B_t x_t,
    y_t = C_t^T h_t + D x_t, with the scalar A of a head, and B and C of its group.

    x [B, T, H, P], dt [B, T, H], A, D [H], B, C [B, T, G, N], state [B, H, N, P].
    """
    outputs = np.zeros(x.shape, np.result_type(x, dt, A, B, C, D, state))
    last = np.array(state, outputs.dtype)
    for b, j, p in np.ndindex(x.shape[0], x.shape[2], x.shape[3]):
        h, group = state[b, j, :, p], j // (x.shape[2] // B.shape[2])
        for t in range(lengths[b]):
            h = np.zeros_like(h) if reset[b, t] else h
            h = np.exp(dt[b, t, j] * A[j]) * h + dt[b, t, j] * B[b, t, group] * x[b, t, j, p]
            outputs[b, t, j, p] = C[b, t, group] @ h + D[j] * x[b, t, j, p]
        last[b, j, :, p] = h
    return outputs, last


def rwkv6(r, k, v, log_w, u, state, reset, lengths):
    """Peng et al. 2024 (arXiv 2404.05892), equations 19 and 20, with diag(w_t) for the step's own decay:

        o_t = (S_{t-1} + diag(u) k_t v_t^T)^T r_t        S_t = diag(w_t) S_{t-1} + k_t v_t^T

    r, k, log w [B, T, H, K], v [B, T, H, V], u [H, K], S [B, H, K, V].
    """
    w, outputs, states = np.exp(log_w), np.zeros(v.shape, np.result_type(r, k, v, log_w, u, state)), []
    for b, h in np.ndindex(v.shape[0], v.shape[2]):
        S = state[b, h]
        for t in range(lengths[b]):
            S = np.zeros_like(S) if reset[b, t] else S
            outer = np.outer(k[b, t, h], v[b, t, h])
            outputs[b, t, h] = r[b, t, h] @ (S + u[h][:, None] * outer)
            S = w[b, t, h][:, None] * S + outer
        states.append(S)
    return outputs, np.stack(states).reshape(state.shape)


def adjoint(q, k, v, decay, bonus, state, reset, lengths, do, dS):
    """Gradients of <o, do> + <S, dS> by q, k, v, log decay, bonus and state, by the chain rule from the last step on.

    For S_t = diag(decay_t) S_{t-1} + k_t v_t^T and o_t = (S_{t-1} + diag(bonus) k_t v_t^T)^T q_t; where the bonus is
    None, o_t = S_t^T q_t. q, k, decay [B, T, H, K], v [B, T, H, V], bonus [H, K], S [B, H, K, V]. The log decay's is
    decay S_{t-1} dS_t, summed over V.
    """
    dq, dk, dv, dlog, dbonus, dstate = (np.zeros(a.shape) for a in (q, k, v, decay, decay[0, 0], state))
    for b, h in np.ndindex(v.shape[0], v.shape[2]):
        before, S = [], state[b, h]
        for t in range(lengths[b]):
            before.append(np.zeros_like(S) if reset[b, t] else S)
            S = decay[b, t, h][:, None] * before[-1] + np.outer(k[b, t, h], v[b, t, h])
        G = dS[b, h]
        for t in reversed(range(lengths[b])):
            at, outer = (b, t, h), np.outer(k[b, t, h], v[b, t, h])
            by_o = np.outer(q[at], do[at])
            if bonus is None:
                G = G + by_o
                read, d_outer = decay[at][:, None] * before[t] + outer, G
            else:
                read, d_outer = before[t] + bonus[h][:, None] * outer, G + bonus[h][:, None] * by_o
                dbonus[h] += (by_o * outer).sum(axis=1)
            dq[at], dk[at], dv[at] = read @ do[at], d_outer @ v[at], d_outer.T @ k[at]
            dlog[at] = decay[at] * (G * before[t]).sum(axis=1)
            G = decay[at][:, None] * G + (0 if bonus is None else by_o)
            G = np.zeros_like(G) if reset[b, t] else G
        dstate[b, h] = G
    return dq, dk, dv, dlog, dbonus, dstate
