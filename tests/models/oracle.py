"""The blocks of the xLSTM papers (Beck et al. 2024, arXiv 2405.04517, figures 10 and 11; 2025) in float64 NumPy."""

import math

import numpy as np

from tests.oracles.mlstm import mlstm
from tests.oracles.slstm import slstm

erf = np.vectorize(math.erf)


def silu(x):
    return x / (1 + np.exp(-x))


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def normalized(x, scale):
    """Layer norm over the last axis, eps 1e-5, no bias."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * scale


def head_normalized(h, scale):
    """Each head separately: [B, T, H, V] -> [B, T, H V]."""
    heads = [normalized(h[:, :, j], 1.0) for j in range(h.shape[2])]
    return np.concatenate(heads, axis=-1) * scale


def blockwise(x, kernel):
    """Block-diagonal product: kernel [blocks, in, out]."""
    size = kernel.shape[1]
    return np.concatenate([x[..., n * size : (n + 1) * size] @ block for n, block in enumerate(kernel)], axis=-1)


def convolved(x, kernel, bias):
    """Causal and depthwise, with zeros before the start; the last tap is for the current step."""
    taps, y = kernel.shape[0], np.zeros_like(x)
    for t in range(x.shape[1]):
        y[:, t] = bias
        for back in range(min(taps, t + 1)):
            y[:, t] += kernel[taps - 1 - back] * x[:, t - back]
    return y


def zero_start(batch, time):
    return np.zeros((batch, time), bool), np.full(batch, time)


def mlstm_block(p, x, heads, **gates):
    """Figure 11: pre up-projection around a matrix memory, without a feed-forward layer."""
    batch, time, _ = x.shape
    a, z = np.split(normalized(x, p["norm"]["scale"]) @ p["up"]["kernel"], 2, axis=-1)
    s = silu(convolved(a, p["conv"]["kernel"], p["conv"]["bias"])) if "conv" in p else a
    q, k, v = blockwise(s, p["q"]["kernel"]), blockwise(s, p["k"]["kernel"]), blockwise(a, p["v"]["kernel"])
    i, f = np.split(np.concatenate([q, k, v], axis=-1) @ p["gates"]["kernel"] + p["gates"]["bias"], 2, axis=-1)
    q, k, v = (u.reshape(batch, time, heads, -1) for u in (q, k, v))
    width = q.shape[-1]
    state = (np.zeros((batch, heads, width, width)), np.zeros((batch, heads, width)), np.zeros((batch, heads)))
    h, _ = mlstm(q, k, v, i, f, state, *zero_start(batch, time), **gates)
    h = head_normalized(h, p["head_norm"]["scale"])
    return x + ((h + p["skip"] * s) * silu(z)) @ p["down"]["kernel"]


def slstm_mixed(p, u, heads, **gates):
    """The sLSTM with its convolution, maps and head norm, applied to the output of a block's norm or up-projection."""
    batch, time, features = u.shape
    s = silu(convolved(u, p["conv"]["kernel"], p["conv"]["bias"])) if "conv" in p else u
    pre = [blockwise(s if gate in "if" else u, p[gate]["kernel"]) for gate in "ifzo"]
    pre = np.stack([part.reshape(batch, time, heads, -1) for part in pre], axis=2) + p["bias"]
    zero = np.zeros((batch, heads, features // heads))
    y, _ = slstm(pre, p["recurrent"], (zero, zero, zero - np.inf, zero), *zero_start(batch, time), **gates)
    return head_normalized(y, p["head_norm"]["scale"])


def feed_forward(p, x):
    """A residual branch: norm and the gated layer."""
    a, b = np.split(normalized(x, p["ffn_norm"]["scale"]) @ p["ffn"]["up"]["kernel"], 2, axis=-1)
    return x + (gelu(a) * b) @ p["ffn"]["down"]["kernel"]


def slstm_block(p, x, heads, **gates):
    """Figure 10: post up-projection; then norm and the gated feed-forward layer."""
    return feed_forward(p, x + slstm_mixed(p, normalized(x, p["norm"]["scale"]), heads, **gates))


def rms_normalized(x, scale, eps=1e-6):
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + eps) * scale


def swiglu(p, x):
    return (silu(x @ p["gate"]["kernel"]) * (x @ p["up"]["kernel"])) @ p["down"]["kernel"]


def xlstm_block(p, x, heads):
    """The block of xLSTM 7B (Beck et al. 2025, arXiv 2503.13427): matrix memory, then SwiGLU."""
    batch, time, _ = x.shape
    u = rms_normalized(x, p["norm"]["scale"])
    q, k, v = ((u @ p[name]["kernel"]).reshape(batch, time, heads, -1) for name in "qkv")
    i, f = (15 * np.tanh((u @ p[name]["kernel"] + p[name]["bias"]) / 15) for name in "if")
    keys, values = q.shape[-1], v.shape[-1]
    state = (np.zeros((batch, heads, keys, values)), np.zeros((batch, heads, keys)), np.zeros((batch, heads)))
    h, _ = mlstm(q, k, v, i, f, state, *zero_start(batch, time), eps=1e-6)
    centred = h - h.mean(-1, keepdims=True)
    h = (centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)).reshape(batch, time, -1)
    o = 1 / (1 + np.exp(-u @ p["o"]["kernel"]))
    x = x + (o * h * p["head_norm"]["scale"]) @ p["out"]["kernel"]
    return x + swiglu(p["ffn"], rms_normalized(x, p["ffn_norm"]["scale"]))
