"""The convolutional LSTM over maps with any number of axes S, one sequence at a time."""

import numpy as np

from tests.oracles.classic import over_time, sigmoid


def convolve(x, kernel):
    """x [*S, D] with kernel [*taps, D, E], zeros beyond the edges: [*S, E].

    y[p] = sum_t x[p + t - before] kernel[t], where `before` taps of (taps - 1) // 2 lie ahead of the centre.
    """
    size, taps = x.shape[:-1], kernel.shape[:-2]
    before = [(n - 1) // 2 for n in taps]
    padded = np.pad(x, [*((lo, n - 1 - lo) for lo, n in zip(before, taps, strict=True)), (0, 0)])
    y = np.zeros((*size, kernel.shape[-1]))
    for tap in np.ndindex(*taps):
        seen = tuple(slice(first, first + length) for first, length in zip(tap, size, strict=True))
        y += padded[seen] @ kernel[tap]
    return y


def convlstm(w, x, carry, reset, lengths):
    """Shi et al. 2015 (arXiv 1506.04214), equation 3: x [B, T, *S, D], the carry (c, h) of [B, *S, F].

    Without "p" there are no peepholes, with p [3, *S, F] they stand in the order i, f, o. Gates' order i, f, z, o.
    """
    b, (p_i, p_f, p_o) = w.get("b", 0.0), w.get("p", (0.0, 0.0, 0.0))

    def step(state, x_t):
        c, h = state
        i, f, z, o = np.split(convolve(x_t, w["w_x"]) + convolve(h, w["w_h"]) + b, 4, axis=-1)
        i, f = sigmoid(i + p_i * c), sigmoid(f + p_f * c)
        c = f * c + i * np.tanh(z)
        o = sigmoid(o + p_o * c)
        h = o * np.tanh(c)
        return [c, h], h

    return over_time(step, x, carry, reset, lengths)
