"""What every block shares: the registry of pattern letters, and the contract."""

from typing import Any, Protocol

import jax
from flax import nnx

from xlstm_jax.checks import check_parts, checked
from xlstm_jax.errors import UsageError
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

    @staticmethod
    def unsplittable(config: ModelConfig) -> str:
        """Why the sequence cannot be split over devices (`ops.context`); empty where it can."""
        ...

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


def checked_inputs(
    block: Block, features: int, x_BTD: jax.Array, carry: Any, reset: jax.Array | None, lengths: jax.Array | None
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """x, reset and lengths of a block that reads so many features, as arrays that fit each other and the carry.

    Raises:
        UsageError: what does not fit, by its name.
    """
    name = type(block).__name__
    x_BTD, reset, lengths = checked(name, {"D": features}, x_BTD=x_BTD, reset_BT=reset, lengths_B=lengths)
    if carry is not None:
        check_parts(name, carry, jax.eval_shape(lambda: block.init_carry(x_BTD.shape[0])))
    return x_BTD, reset, lengths


def check_context(config: ModelConfig, context: int) -> None:
    """Refuses a pattern that cannot run on a sequence split over `context` devices.

    Raises:
        UsageError: a block needs all steps on one device.
    """
    if context == 1:
        return
    able = [letter for letter in BLOCKS.names() if not BLOCKS.get(letter).unsplittable(config)]
    for letter in config.letters:
        if why := BLOCKS.get(letter).unsplittable(config):
            raise UsageError(
                f"mesh.context {context} splits the sequence, but block {letter!r} of model.pattern "
                f"{config.pattern!r} needs all of it on one device: {why}; "
                f"use mesh.context=1 or blocks of {', '.join(able)}"
            )
