"""Configs of stacks of blocks and of models built on them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Literal, TypeVar

from xlstm_jax.config import Bounds, NonNegativeFloat, PositiveFloat, PositiveInt, Rate, Section
from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.base import BLOCKS
from xlstm_jax.models.pattern import MOST_BLOCKS, parse_pattern

MOST_WIDE, MOST_TAPS = 1024, 1024
Depth = Annotated[int, Bounds(least=0, most=MOST_BLOCKS)]
Factor = Annotated[float, Bounds(least=0, most=MOST_WIDE)]  # ratio of two widths
PositiveFactor = Annotated[float, Bounds(over=0, most=MOST_WIDE)]
Taps = Annotated[int, Bounds(least=0, most=MOST_TAPS)]  # of a convolution; each tap is an operation of the program
PositiveTaps = Annotated[int, Bounds(least=1, most=MOST_TAPS)]
Cap = Annotated[float, Bounds(least=0, most=1e9)]  # soft cap; for much larger ones, x / cap would be 0 in float32

Options = TypeVar("Options", bound=Section)


@dataclasses.dataclass(frozen=True)
class StackConfig(Section, name="model"):
    """A stack of blocks (`models.Stack`)."""

    features: PositiveInt = 128  # width of every block's input and output
    pattern: str = "ms"  # blocks in order: letters, names ("mlstm*7,slstm") or "xLSTM[7:1]"
    num_blocks: Depth = 0  # with a pattern xLSTM[a:b]: total number of blocks, a multiple of a + b; 0: a + b
    dropout: Rate = 0.0  # dropout rate of the first block's input and of each residual branch
    final_norm: bool = True  # a norm after the last block
    norm: Literal["layer", "rms"] = "layer"  # kind of the final norm
    norm_eps: PositiveFloat = 1e-5  # eps of the final norm
    # Compute dtype; parameters are float32 and states at least float32. float64 needs JAX_ENABLE_X64=1.
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"
    # What the backward pass recomputes to save memory: "none" nothing, "full" each block, "dots" each block except its
    # products with weights. On a CPU this saves memory only together with scan_layers.
    remat: Literal["none", "dots", "full"] = "none"
    # Plain JAX code instead of hand-written backward passes, for jax.jvp, jax.jacfwd and jax.hessian; slower to train.
    forward_mode: bool = False
    scan_layers: bool = False  # compile repeated blocks once and run them by a scan over stacked parameters
    blocks: tuple[Section, ...] = ()  # options of blocks, instances of their `Config`; other blocks use defaults

    @classmethod
    def nested(cls) -> Mapping[str, type[Section]]:
        """The sections `model.NAME`, with the options of each block."""
        return {name: BLOCKS.get(name).Config for name in BLOCKS.names()}

    def __post_init__(self):
        super().__post_init__()
        kinds = [type(options) for options in self.blocks]
        for kind in kinds:
            if kind not in self.nested().values():
                raise UsageError(f"blocks={kind.__name__} is not allowed; give instances of a block's Config")
            if kinds.count(kind) > 1:
                raise UsageError(f"blocks has {kind.__name__} twice; give the options of each kind of block once")

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the blocks in order; raises `UsageError` like `parse_pattern`."""
        return parse_pattern(self.pattern, self.num_blocks)

    def options(self, kind: type[Options]) -> Options:
        """The options of one kind of block: those in `blocks`, else the defaults."""
        return next((options for options in self.blocks if type(options) is kind), None) or kind()

    def with_options(self, *blocks: Section) -> "StackConfig":
        """A copy with these options, replacing options of the same kinds of blocks."""
        kept = (options for options in self.blocks if type(options) not in map(type, blocks))
        return dataclasses.replace(self, blocks=(*kept, *blocks))


@dataclasses.dataclass(frozen=True)
class ModelConfig(StackConfig, name="model"):
    """A language model: embedding, stack, head."""

    vocab_size: PositiveInt = dataclasses.field(default=256, metadata={"knob": False})  # set by the tokenizer
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the embedding; 0: sqrt(2 / (5 features))
    logit_softcap: Cap = 0.0  # soft cap of the logits, by a tanh; 0: none
    tie_embedding: bool = False  # use the embedding matrix in the head


def rounded_up(size: float, multiple: int) -> int:
    """The smallest multiple of `multiple` that is at least `size`."""
    return multiple * math.ceil(size / multiple)


def inner_width(config: StackConfig, options: Section, factor: str | None, *, heads: int = 1) -> int:
    """The inner width of a block: round(options.FACTOR * config.features), or config.features if `factor` is None.

    Raises:
        UsageError: the width is 0, or not a multiple of `heads`.
    """
    value = getattr(options, factor) if factor else 1.0
    width = round(value * config.features)
    if not width:
        raise UsageError(
            f"{options.section}.{factor} {value} is not allowed; the width is 0 with model.features {config.features}, "
            "so choose larger values"
        )
    if width % heads:
        raise UsageError(
            f"model.features {config.features} does not fit {options.section.removeprefix('model.')}.num_heads "
            f"{heads}; the inner width {width} must be a multiple of it"
        )
    return width
