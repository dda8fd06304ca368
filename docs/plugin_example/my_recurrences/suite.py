"""Time of the leaky integrator: python -m experiments.bench --suite=leaky --out=/tmp/leaky"""

from experiments.benching.base import SUITES
from experiments.benching.timing import Case


@SUITES.register("leaky")
def leaky(tiny: bool) -> list:
    """The LSTM first, to which ratios are taken."""
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from xlstm_jax.nn import Recurrent

    batch, time, features = (2, 8, 16) if tiny else (16, 256, 256)
    x_BTD = jnp.ones((batch, time, features), jnp.float32)

    def case(cell: str) -> Case:
        graphdef, weights = nnx.split(Recurrent(cell, features, features, rngs=nnx.Rngs(0)))
        run = jax.jit(lambda weights, x_BTD: nnx.merge(graphdef, weights)(x_BTD)[0])
        return Case("layer", cell, lambda: jax.block_until_ready(run(weights, x_BTD)), batch * time)

    return [case("lstm"), case("leaky")]
