"""One recurrent layer, forward and forward + backward: PyTorch's, Flax's and ours.

64 sequences of 100 steps, 256 features in and out, float32 unless the case says bfloat16. The backward pass is that of
sum(y * dy) with respect to the weights and x. PyTorch's cases are included if it is installed.
"""

import os

import numpy as np

from experiments.benching.base import PASSES, SUITES
from experiments.benching.timing import Case

CELLS = ("lstm", "gru", "rnn")


@SUITES.register("recurrent")
def recurrent(tiny: bool) -> list[Case]:
    """Groups by cell and pass, other libraries first; then the LSTM in bfloat16, and the linear minGRU."""
    batch, time, features = (4, 6, 8) if tiny else (64, 100, 256)
    rng = np.random.default_rng(0)
    x, dy = (rng.standard_normal((batch, time, features)).astype(np.float32) for _ in range(2))
    cases = []
    for cell in CELLS[:1] if tiny else CELLS:
        cases += _torch(cell, x, dy) + _flax(cell, x, dy) + _ours(cell, cell, "xlstm_jax", x, dy)
    if not tiny:
        cases += _torch("lstm", x, dy, bfloat16=True) + _ours("lstm bfloat16", "lstm", "xlstm_jax", x, dy, "bfloat16")
        for implementation in ("scan", "associative"):
            cases += _ours("mingru", "mingru", implementation, x, dy, implementation=implementation)
    return [case for which in PASSES for case in cases if case.group.endswith(f" {which}")]


def _jax_cases(group: str, name: str, run, weights, x, dy) -> list[Case]:
    """Cases for both passes of `run(weights, x) -> y`."""
    import jax
    import jax.numpy as jnp

    def loss(weights, x):
        return jnp.vdot(run(weights, x).astype(dy.dtype), dy)

    # Flax's state includes random keys, which have no gradient.
    forward, backward = jax.jit(run), jax.jit(jax.grad(loss, argnums=(0, 1), allow_int=True))
    x, dy = jnp.asarray(x), jnp.asarray(dy)
    tokens = x.shape[0] * x.shape[1]
    return [
        Case(f"{group} {which}", name, lambda pass_=pass_: jax.block_until_ready(pass_(weights, x)), tokens)
        for which, pass_ in zip(PASSES, (forward, backward), strict=True)
    ]


def _ours(group: str, cell: str, name: str, x, dy, dtype: str = "float32", implementation=None) -> list[Case]:
    import jax.numpy as jnp
    from flax import nnx

    from xlstm_jax.nn import Recurrent

    layer = Recurrent(
        cell, x.shape[-1], x.shape[-1], dtype=jnp.dtype(dtype), implementation=implementation, rngs=nnx.Rngs(0)
    )
    graph, state = nnx.split(layer)
    return _jax_cases(group, name, lambda w, x: nnx.merge(graph, w)(x)[0], nnx.to_pure_dict(state), x, dy)


def _flax(cell: str, x, dy) -> list[Case]:
    import flax
    from flax import nnx

    # Of Flax's two LSTM cells, this is the faster one.
    made = {"lstm": nnx.OptimizedLSTMCell, "gru": nnx.GRUCell, "rnn": nnx.SimpleCell}[cell]
    graph, state = nnx.split(nnx.RNN(made(x.shape[-1], x.shape[-1], rngs=nnx.Rngs(0))))
    return _jax_cases(cell, f"Flax {flax.__version__}", lambda w, x: nnx.merge(graph, w)(x), state, x, dy)


def _torch(cell: str, x, dy, *, bfloat16: bool = False) -> list[Case]:
    try:
        import torch
    except ImportError:
        return []
    torch.set_num_threads(os.cpu_count() or 1)
    dtype = torch.bfloat16 if bfloat16 else torch.float32
    made = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "rnn": torch.nn.RNN}[cell]
    layer = made(x.shape[-1], x.shape[-1], batch_first=True).to(dtype)
    x, dy = torch.tensor(x, dtype=dtype).requires_grad_(), torch.tensor(dy, dtype=dtype)

    def forward():
        with torch.no_grad():
            return layer(x)[0]

    def backward():
        layer.zero_grad()
        x.grad = None
        (layer(x)[0] * dy).sum().backward()

    group = f"{cell} bfloat16" if bfloat16 else cell
    tokens = x.shape[0] * x.shape[1]
    name = f"PyTorch {torch.__version__}"
    return [Case(f"{group} {which}", name, run, tokens) for which, run in zip(PASSES, (forward, backward), strict=True)]
