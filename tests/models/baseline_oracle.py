"""The baselines' blocks in float64 NumPy, each by the recurrence or sum of its paper, step by step."""

import numpy as np

from tests.models.oracle import convolved, gelu, normalized, rms_normalized, silu, swiglu


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def rotated(x, position):
    """Pairs (j, j + K/2) rotated by position / 10000^(2j/K) (Su et al. 2021), as complex numbers."""
    half = x.shape[-1] // 2
    turned = (x[..., :half] + 1j * x[..., half:]) * np.exp(1j * position * 10_000.0 ** (-np.arange(half) / half))
    return np.concatenate([turned.real, turned.imag], axis=-1)


def transformer_block(p, x, options):
    """Touvron et al. 2023 (arXiv 2302.13971): attention over the last `window` steps, then SwiGLU."""
    batch, time, features = x.shape
    heads, groups = options.num_heads, options.num_kv_heads
    u = rms_normalized(x, p["norm"]["scale"], 1e-5)
    q, k, v = (
        (u @ p[name]["kernel"]).reshape(batch, time, n, -1) for name, n in (("q", heads), ("k", groups), ("v", groups))
    )
    y = np.zeros((batch, time, heads, features // heads))
    for b, t, h in np.ndindex(batch, time, heads):
        group, seen = h // (heads // groups), range(max(0, t - options.window + 1), t + 1)
        scores = np.array([rotated(q[b, t, h], t) @ rotated(k[b, s, group], s) for s in seen])
        weights = np.exp(scores / np.sqrt(q.shape[-1]))
        y[b, t, h] = weights / weights.sum() @ v[b, seen.start : t + 1, group]
    x = x + y.reshape(batch, time, -1) @ p["out"]["kernel"]
    return x + swiglu(p["ffn"], rms_normalized(x, p["ffn_norm"]["scale"], 1e-5))


def mamba2_block(p, x, options):
    """Dao & Gu 2024 (arXiv 2405.21060), section 7."""
    batch, time, _ = x.shape
    heads, groups, state, width = len(p["D"]), options.num_groups, options.state_features, options.head_features
    inner, mapped = heads * width, groups * state
    parts = rms_normalized(x, p["norm"]["scale"], 1e-5) @ p["up"]["kernel"]
    z, u, dt = np.split(parts, [inner, 2 * inner + 2 * mapped], axis=-1)
    u = silu(convolved(u, p["conv"]["kernel"], p["conv"]["bias"]))
    a, B, C = np.split(u, [inner, inner + mapped], axis=-1)
    dt, A = np.log1p(np.exp(dt + p["dt_bias"])), -np.exp(p["A_log"])
    y = np.zeros_like(a)
    for b, h in np.ndindex(batch, heads):
        S, features, group = np.zeros((state, width)), slice(h * width, (h + 1) * width), h // (heads // groups)
        of_group = slice(group * state, (group + 1) * state)
        for t in range(time):
            S = np.exp(dt[b, t, h] * A[h]) * S + dt[b, t, h] * np.outer(B[b, t, of_group], a[b, t, features])
            y[b, t, features] = C[b, t, of_group] @ S + p["D"][h] * a[b, t, features]
    return x + rms_normalized(y * silu(z), p["gated_norm"]["scale"], 1e-5) @ p["down"]["kernel"]


def feed_forward(p, x):
    a, b = np.split(rms_normalized(x, p["ffn_norm"]["scale"]) @ p["ffn"]["up"]["kernel"], 2, axis=-1)
    return x + (gelu(a) * b) @ p["ffn"]["down"]["kernel"]


def minimal_block(p, x, options):
    """Feng et al. 2024 (arXiv 2410.01201): convolution, minLSTM, feed-forward layer."""
    u = convolved(rms_normalized(x, p["norm"]["scale"]), p["conv"]["kernel"], p["conv"]["bias"])
    w = p["layer"]["layers"][0]
    f, i, n = np.split(u @ w["w_x"] + w["b"], 3, axis=-1)
    f, i = sigmoid(f) / (sigmoid(f) + sigmoid(i)), sigmoid(i) / (sigmoid(f) + sigmoid(i))
    h, state = np.zeros_like(n), 0.0
    for t in range(x.shape[1]):
        h[:, t] = state = f[:, t] * state + i[:, t] * n[:, t]
    return feed_forward(p, x + h @ p["down"]["kernel"])


def griffin_block(p, x, options):
    """De et al. 2024 (arXiv 2402.19427), section 2."""
    u = rms_normalized(x, p["norm"]["scale"])
    b = convolved(u @ p["up"]["kernel"], p["conv"]["kernel"], p["conv"]["bias"])
    w, heads = p["layer"]["layers"][0], options.num_heads

    def gate(name):
        parts = np.split(b, heads, axis=-1)
        mapped = [part @ block for part, block in zip(parts, w[f"w_{name}"], strict=True)]
        return sigmoid(np.concatenate(mapped, axis=-1) + w[f"b_{name}"])

    a = sigmoid(w["lambda"]) ** (8 * gate("r"))
    h, state = np.zeros_like(b), 0.0
    for t in range(x.shape[1]):
        h[:, t] = state = a[:, t] * state + np.sqrt(1 - a[:, t] ** 2) * (gate("i") * b)[:, t]
    return feed_forward(p, x + (gelu(u @ p["gate"]["kernel"]) * h) @ p["down"]["kernel"])


def rwkv6_block(p, x, options):
    """Peng et al. 2024 (arXiv 2404.05892), sections 4.1.2 and 4.1.3, with the state's recurrence (equation 20)."""
    batch, time, features = x.shape
    width = options.head_features
    heads = features // width

    def before(u):
        return np.concatenate([np.zeros_like(u[:, :1]), u[:, :-1]], axis=1) - u

    u = normalized(x, p["norm"]["scale"])
    low = np.tanh((u + before(u) * p["mu"]) @ p["mix_down"]).reshape(batch, time, 5, -1)
    w, k, v, r, g = (u + before(u) * (p["mus"][n] + low[:, :, n] @ p["mix_up"][n]) for n in range(5))
    w = np.exp(-np.exp(p["decay"] + np.tanh(w @ p["decay_down"]) @ p["decay_up"]))
    k, v, r, g = (a @ p[name]["kernel"] for name, a in zip("kvrg", (k, v, r, g), strict=True))
    o = np.zeros((batch, time, heads, width))
    for b, h in np.ndindex(batch, heads):
        S, own = np.zeros((width, width)), slice(h * width, (h + 1) * width)
        for t in range(time):
            kv = np.outer(k[b, t, own], v[b, t, own])
            o[b, t, h] = r[b, t, own] @ (S + p["bonus"][h][:, None] * kv)
            S = w[b, t, own][:, None] * S + kv
    centred = o - o.mean(-1, keepdims=True)
    o = (centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 64e-5)).reshape(batch, time, -1)
    x = x + (silu(g) * o * p["head_norm"]["scale"]) @ p["out"]["kernel"]
    u = normalized(x, p["ffn_norm"]["scale"])
    k = np.maximum((u + before(u) * p["ffn_mu_k"]) @ p["ffn_k"]["kernel"], 0) ** 2
    return x + sigmoid((u + before(u) * p["ffn_mu_r"]) @ p["ffn_r"]["kernel"]) * (k @ p["ffn_v"]["kernel"])
