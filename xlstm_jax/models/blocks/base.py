"""The registry of blocks, their interface, and checks of their arguments."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

import jax
from flax import nnx

from xlstm_jax.checks import check_parts, checked
from xlstm_jax.errors import UsageError
from xlstm_jax.registry import Registry

if TYPE_CHECKING:
    from xlstm_jax.config import Section
    from xlstm_jax.models.config import StackConfig


class Block(Protocol):
    """One layer of a stack. Maps x [B, T, D] to [B, T, D] and a carry to the carry after the last step.

    A carry of None means `init_carry`. `reset` and `lengths` are as in `ops.mlstm`. Dropout is active if a `key` is
    given.
    """

    Config: ClassVar[type["Section"]]  # the block's options, config section `model.NAME`; all fields have defaults

    def __init__(self, config: "StackConfig", index: int, *, rngs: nnx.Rngs):
        """Block number `index` of the stack; `config.options(Config)` has its options."""

    @staticmethod
    def unsplittable(config: "StackConfig") -> str:
        """Why the sequence cannot be split over devices (`ops.context`); "" if it can."""
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


class Blocks(Registry[type[Block]]):
    """The registry of blocks. Each has a name; some have a letter for short patterns such as "mms"."""

    def __init__(self):
        super().__init__("block", package="xlstm_jax.models.blocks")
        self._letters: dict[str, str] = {}

    def register(self, name: str, letter: str = "") -> Callable[[type[Block]], type[Block]]:
        """Decorator that registers a block under its name, which is also its config section `model.NAME`.

        Args:
            name: at least two characters, without "," and "*".
            letter: optional abbreviation, a single character.

        Raises:
            ValueError: the name or the letter is taken or invalid.
        """
        if len(name) < 2 or len(letter) > 1 or "," in name + letter or "*" in name + letter:
            raise ValueError(
                f"block {name!r}, letter {letter!r}: a name has at least 2 characters, a letter at most 1, and "
                "neither has ',' or '*'"
            )
        if self._letters.get(letter, name) != name:
            raise ValueError(f"the letter {letter!r} is taken by block {self._letters[letter]!r}; use another one")
        if letter:
            self._letters[letter] = name
        return super().register(name)

    def name_of(self, letter: str) -> str:
        """Returns the name of the block with that letter; raises `UsageError` if there is none."""
        known = self.letters()
        if letter not in known:
            choices = ", ".join(f"{name} ({letter})" for letter, name in sorted(known.items()))
            others = [name for name in self.names() if name not in known.values()]
            raise UsageError(f"unknown block {letter!r}; known: {', '.join([choices, *others])}")
        return known[letter]

    def letters(self) -> dict[str, str]:
        """Names by letter."""
        self.names()  # imports the blocks
        return dict(self._letters)


BLOCKS = Blocks()


def checked_inputs(
    block: Block, features: int, x_BTD: jax.Array, carry: Any, reset: jax.Array | None, lengths: jax.Array | None
) -> tuple[jax.Array, jax.Array | None, jax.Array | None]:
    """Checks a block's arguments against each other and returns x, reset and lengths as arrays.

    Raises:
        UsageError: an argument does not fit; the message names it.
    """
    name = type(block).__name__
    x_BTD, reset, lengths = checked(name, {"D": features}, x_BTD=x_BTD, reset_BT=reset, lengths_B=lengths)
    if carry is not None:
        check_parts(name, carry, jax.eval_shape(lambda: block.init_carry(x_BTD.shape[0])))
    return x_BTD, reset, lengths


def check_context(config: "StackConfig", context: int) -> None:
    """Raises `UsageError` if `context` > 1 devices split the sequence but a block needs all steps on one device."""
    if context == 1:
        return
    for name in config.layers:
        if why := BLOCKS.get(name).unsplittable(config):
            able = [other for other in BLOCKS.names() if not BLOCKS.get(other).unsplittable(config)]
            raise UsageError(
                f"mesh.context {context} splits the sequence, but block {name!r} of model.pattern "
                f"{config.pattern!r} needs all of it on one device: {why}; "
                f"use mesh.context=1 or other blocks: {', '.join(able)}"
            )
