"""What every block shares: the registry of pattern letters, and the contract."""

from typing import Any, Protocol

import jax
from flax import nnx

from xlstm_jax.models.config import ModelConfig
from xlstm_jax.registry import Registry

BLOCKS: Registry[type["Block"]] = Registry("block", package="xlstm_jax.models")


class Block(Protocol):
    """A layer of the stack, registered under the letter that stands for it in `ModelConfig.pattern`.

    `__init__(config, index, rngs)` makes block number `index`. Calling it maps x [B, T, D] to [B, T, D] and passes its
    carry on, where None is `init_carry`; `reset` and `lengths` as in `ops.mlstm`; dropout is active where `key` is
    given.
    """

    def __init__(self, config: ModelConfig, index: int, *, rngs: nnx.Rngs): ...

    def init_carry(self, batch: int) -> Any: ...

    def __call__(
        self,
        x_BTD: jax.Array,
        carry: Any,
        *,
        reset: jax.Array | None = None,
        lengths: jax.Array | None = None,
        key: jax.Array | None = None,
    ) -> tuple[jax.Array, Any]: ...
