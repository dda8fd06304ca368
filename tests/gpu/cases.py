"""What is compiled for an H200: steps that run the kernels, and production sizes. jax is imported only when one is
made, since the compiler must be told of first."""


def mlstm_gradient(batch, time, heads, keys, values, dtype, reset=False, exact=True):
    """(Forward and backward pass, shapes) of the kernels; the gates too, which stand in XLA."""
    import jax
    import jax.numpy as jnp

    from xlstm_jax.ops.mlstm import mlstm
    from xlstm_jax.ops.mlstm.pallas import choose

    how = "pallas" if exact else choose(time, keys, values, dtype, exact=False)

    def shape(*size, dtype=dtype):
        return jax.ShapeDtypeStruct((batch, time, *size), dtype)

    def step(dh, q, k, v, i, f, reset=None):
        h, pullback = jax.vjp(lambda *a: mlstm(*a, reset_BT=reset, implementation=how)[0], q, k, v, i, f)
        return h, pullback(dh)

    q, v, gate = shape(heads, keys), shape(heads, values), shape(heads)
    return step, (v, q, q, v, gate, gate, *([shape(dtype=jnp.bool_)] if reset else []))


def slstm_gradient(batch, time, heads, width, dtype, reset=False):
    """(Forward and backward pass, shapes) of the kernels."""
    import jax
    import jax.numpy as jnp

    from xlstm_jax.ops.slstm import slstm

    def step(dy, x, r, reset=None):
        y, pullback = jax.vjp(lambda *a: slstm(*a, reset_BT=reset, implementation="pallas")[0], x, r)
        return y, pullback(dy)

    sizes = (batch, time, heads, width), (batch, time, 4, heads, width), (4, heads, width, width)
    shapes = [jax.ShapeDtypeStruct(size, dtype) for size in sizes]
    return step, (*shapes, *([jax.ShapeDtypeStruct((batch, time), jnp.bool_)] if reset else []))


def mlstm_decode(batch, heads, keys, values, dtype):
    """(One step, shapes), the state read once and written once."""
    import jax
    import jax.numpy as jnp

    from xlstm_jax.ops.mlstm import MLSTMState, mlstm

    def step(q, k, v, i, f, state):
        return mlstm(q, k, v, i, f, state=state, implementation="pallas")

    q, v, gate = (jax.ShapeDtypeStruct((batch, 1, heads, *size), dtype) for size in ((keys,), (values,), ()))
    parts = (jax.ShapeDtypeStruct((batch, heads, *size), jnp.float32) for size in ((keys, values), (keys,), ()))
    return step, (q, q, v, gate, gate, MLSTMState(*parts))


# Production sizes: for the mLSTM 65,536 tokens of 4,096 features of v; "8 devices" has as many on each.
CASES = {
    "K 256, V 512": (mlstm_gradient, 8, 8192, 8, 256, 512, "bfloat16"),
    "K 128, V 256": (mlstm_gradient, 8, 8192, 16, 128, 256, "bfloat16"),
    "K 128, V 256, resets": (mlstm_gradient, 8, 8192, 16, 128, 256, "bfloat16", True),
    "K 512, V 512": (mlstm_gradient, 8, 8192, 8, 512, 512, "bfloat16"),
    "K 32, V 32": (mlstm_gradient, 8, 8192, 16, 32, 32, "bfloat16"),
    "K 64, V 128, float32": (mlstm_gradient, 4, 1024, 4, 64, 128, "float32"),
    "K 256, V 512, float32": (mlstm_gradient, 4, 1024, 4, 256, 512, "float32"),
    "K 128, V 256, tf32": (mlstm_gradient, 4, 1024, 4, 128, 256, "float32", False, False),
    "one step, K 256, V 512": (mlstm_decode, 64, 8, 256, 512, "bfloat16"),
    "D 32": (slstm_gradient, 16, 1024, 24, 32, "bfloat16"),
    "D 64": (slstm_gradient, 16, 1024, 12, 64, "bfloat16"),
    "D 128": (slstm_gradient, 16, 1024, 6, 128, "bfloat16"),
    "D 64, resets": (slstm_gradient, 16, 1024, 12, 64, "bfloat16", True),
    "D 64, float32": (slstm_gradient, 16, 1024, 12, 64, "float32"),
    "8 devices, K 256, V 512": (mlstm_gradient, 64, 8192, 8, 256, 512, "bfloat16"),
    "8 devices, one step, K 256, V 512": (mlstm_decode, 512, 8, 256, 512, "bfloat16"),
    "8 devices, D 64": (slstm_gradient, 128, 1024, 12, 64, "bfloat16"),
}
