"""What a model is made of, as frozen dataclasses."""

import dataclasses
import math
import re
from typing import Annotated, Literal

from xlstm_jax.cells.base import RecurrentInit
from xlstm_jax.config import (
    Bounds,
    FiniteFloat,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Rate,
    RotaryBase,
    Section,
)
from xlstm_jax.errors import UsageError

MOST_WIDE, MOST_BLOCKS, MOST_TAPS = 1024, 10_000, 1024
Depth = Annotated[int, Bounds(least=0, most=MOST_BLOCKS)]
Factor = Annotated[float, Bounds(least=0, most=MOST_WIDE)]  # one width over another
PositiveFactor = Annotated[float, Bounds(over=0, most=MOST_WIDE)]
Taps = Annotated[int, Bounds(least=0, most=MOST_TAPS)]  # of a convolution; each is an operation of the program
PositiveTaps = Annotated[int, Bounds(least=1, most=MOST_TAPS)]
Cap = Annotated[float, Bounds(least=0, most=1e9)]  # of a tanh; far over it, x / cap would be 0 in float32


def rounded_up(size: float, multiple: int) -> int:
    """The smallest multiple that is not below `size`."""
    return multiple * math.ceil(size / multiple)


def _check_depth(pattern: str, blocks: int) -> None:
    if not 0 < blocks <= MOST_BLOCKS:
        shown = pattern if len(pattern) <= 40 else f"{pattern[:37]}..."
        raise UsageError(
            f"model.pattern {shown!r} has {blocks} blocks; it has at least 1, a letter each such as 'ms', and at most "
            f"{MOST_BLOCKS}"
        )


@dataclasses.dataclass(frozen=True)
class MLSTMBlockConfig(Section, name="model.mlstm"):
    num_heads: PositiveInt = 4
    proj_factor: PositiveFactor = 2.0  # inner width over model width
    qkv_block_size: PositiveInt = 4  # blocks of the block-diagonal q, k, v maps
    conv_width: Taps = 4  # taps of the causal convolution; 0: none
    ffn_factor: Factor = 0.0  # feed-forward width behind it over model width, rounded up to a multiple of 64; 0: none
    input_gate: Literal["exp", "sigmoid"] = "exp"
    forget_gate: Literal["sigmoid", "exp"] = "sigmoid"
    # A gate's pre-activation: a linear map of q, k, v with a bias; that bias alone; or that, never changed.
    input_gate_form: Literal["linear", "bias", "fixed"] = "linear"
    forget_gate_form: Literal["linear", "bias", "fixed"] = "linear"
    input_bias_mean: FiniteFloat = 0.0  # the input gate's bias starts normal
    input_bias_std: NonNegativeFloat = 0.1
    forget_bias_low: FiniteFloat = 3.0  # the forget gate's starts evenly spread over heads
    forget_bias_high: FiniteFloat = 6.0
    chunk_size: NonNegativeInt = 0  # of the chunkwise form; 0: chosen from the length
    implementation: str = ""  # a name in ops.mlstm.IMPLEMENTATIONS; "": chosen from the length


@dataclasses.dataclass(frozen=True)
class SLSTMBlockConfig(Section, name="model.slstm"):
    num_heads: PositiveInt = 4
    proj_factor: Factor = 0.0  # inner width over model width, as the mLSTM block has one; 0: it runs at the model's
    conv_width: Taps = 4  # taps of the causal convolution; 0: none
    ffn_factor: Factor = 1.3  # feed-forward width over model width, rounded up to a multiple of 64; 0: none
    input_gate: Literal["exp", "sigmoid"] = "exp"
    forget_gate: Literal["sigmoid", "exp"] = "sigmoid"
    implementation: str = ""  # a name in ops.slstm.IMPLEMENTATIONS; "": chosen


@dataclasses.dataclass(frozen=True)
class RecurrentBlockConfig(Section, name="model.recurrent"):
    cell: str = "lstm"  # a name in CELLS
    forget_bias: FiniteFloat = 1.0  # start of the forget gates' bias, of an LSTM; another cell keeps its own
    recurrent_init: RecurrentInit = "orthogonal"  # of recurrent matrices
    dropout: Rate = 0.0  # inside the layer, by dropout_kind; that between layers is the model's
    dropout_kind: Literal["variational", "recurrent", "zoneout"] = "variational"  # see nn.Recurrent
    norm: Literal["none", "layer", "rms", "batch"] = "none"  # of the layer's input; batch: over rows and steps
    residual: bool = False  # the input, before its norm, is added to the output
    ffn_factor: Factor = 0.0  # width of a feed-forward layer after it over model width, rounded up to 64; 0: none


@dataclasses.dataclass(frozen=True)
class XLSTMBlockConfig(Section, name="model.xlstm"):
    """The block of xLSTM 7B."""

    num_heads: PositiveInt = 4
    qk_factor: PositiveFactor = 0.5  # width of all heads' queries, and of their keys, over model width
    v_factor: PositiveFactor = 1.0  # of their values
    ffn_factor: PositiveFactor = 2.667  # feed-forward width over model width, rounded up to a multiple of ffn_multiple
    ffn_multiple: PositiveInt = 64
    ffn_features: NonNegativeInt = 0  # feed-forward width itself; 0: from ffn_factor
    gate_softcap: Cap = 15.0  # pre-activations of i and f lie in +- this
    norm_eps: PositiveFloat = 1e-6
    eps: NonNegativeFloat = 1e-6  # added to the mLSTM's denominator
    chunk_size: NonNegativeInt = 0  # of the chunkwise form; 0: chosen from the length
    implementation: str = ""  # a name in ops.mlstm.IMPLEMENTATIONS; "": chosen from the length

    def ffn_width(self, features: int) -> int:
        """F of a model of that width."""
        return self.ffn_features or rounded_up(self.ffn_factor * features, self.ffn_multiple)


@dataclasses.dataclass(frozen=True)
class TransformerBlockConfig(Section, name="model.transformer"):
    num_heads: PositiveInt = 4
    num_kv_heads: NonNegativeInt = 0  # heads of keys and values, each for as many query heads; 0: num_heads
    context: PositiveInt = 2048  # steps that a step sees, itself among them
    rotary_base: RotaryBase = 10_000.0
    ffn_factor: PositiveFactor = 8 / 3  # feed-forward width over model width, rounded up to a multiple of ffn_multiple
    ffn_multiple: PositiveInt = 64
    norm_eps: PositiveFloat = 1e-5


@dataclasses.dataclass(frozen=True)
class Mamba2BlockConfig(Section, name="model.mamba2"):
    expansion: PositiveFactor = 2.0  # inner width over model width
    head_features: PositiveInt = 64  # of the inner width, a head
    state_features: PositiveInt = 128
    num_groups: PositiveInt = 1  # of heads that share B and C
    conv_width: PositiveTaps = 4  # taps of the causal convolution
    norm_eps: PositiveFloat = 1e-5
    chunk_size: NonNegativeInt = 0  # of the chunkwise form; 0: chosen from the length
    implementation: str = ""  # a name in ops.mlstm.IMPLEMENTATIONS; "": chosen from the length


@dataclasses.dataclass(frozen=True)
class MinimalBlockConfig(Section, name="model.minimal"):
    cell: Literal["minlstm", "mingru"] = "minlstm"
    expansion: PositiveFactor = 2.0  # width of the recurrence over model width
    conv_width: PositiveTaps = 4  # taps of the causal convolution
    ffn_factor: PositiveFactor = 8 / 3  # feed-forward width over model width, rounded up to a multiple of ffn_multiple
    ffn_multiple: PositiveInt = 64


@dataclasses.dataclass(frozen=True)
class GriffinBlockConfig(Section, name="model.griffin"):
    num_heads: PositiveInt = 4  # blocks of the gates' block-diagonal maps
    expansion: PositiveFactor = 4 / 3  # width of the recurrence over model width
    conv_width: PositiveTaps = 4  # taps of the causal convolution
    ffn_factor: PositiveFactor = 3.0  # feed-forward width over model width, rounded up to a multiple of ffn_multiple
    ffn_multiple: PositiveInt = 64


@dataclasses.dataclass(frozen=True)
class RWKV6BlockConfig(Section, name="model.rwkv6"):
    head_features: PositiveInt = 64
    mix_rank: PositiveInt = 32  # of the maps that weigh a step's input against the last one's
    decay_rank: PositiveInt = 64  # of the map that makes the decay
    ffn_factor: PositiveFactor = 3.5  # feed-forward width over model width


@dataclasses.dataclass(frozen=True)
class ModelConfig(Section, name="model"):
    """A language model: embedding, one block a letter of `pattern`, norm, head."""

    vocab_size: PositiveInt = 256
    features: PositiveInt = 128  # width of the embedding and of every block
    pattern: str = "ms"  # a letter a block (BLOCKS), or "xLSTM[a:b]" of num_blocks: a mLSTM, b sLSTM, a mLSTM, ...
    num_blocks: Depth = 0  # of a pattern xLSTM[a:b], a multiple of a + b; 0: a + b
    dropout: Rate = 0.0  # on the embedding and on what each block adds
    embedding_std: NonNegativeFloat = 0.0  # standard deviation of the embedding at the start; 0: sqrt(2 / (5 features))
    final_norm: bool = True  # a norm before the head
    norm: Literal["layer", "rms"] = "layer"  # of the final norm
    norm_eps: PositiveFloat = 1e-5  # of the final norm
    logit_softcap: Cap = 0.0  # logits lie in +- this; 0: anywhere
    tie_embedding: bool = False  # the head's matrix is the embedding's
    input_features: NonNegativeInt = 0  # real numbers that each step reads, mapped linearly; 0: a token, embedded
    dtype: Literal["float32", "bfloat16", "float64"] = "float32"  # of the products and, if wider, states
    remat: Literal["none", "dots", "full"] = "none"  # of each block the backward pass computes again: see models.stack
    forward_mode: bool = False  # blocks have forward-mode derivatives: see xlstm_jax.autodiff.forward_mode
    scan_layers: bool = False  # equal blocks of a language model are compiled once and run by one scan
    mlstm: MLSTMBlockConfig = MLSTMBlockConfig()
    slstm: SLSTMBlockConfig = SLSTMBlockConfig()
    recurrent: RecurrentBlockConfig = RecurrentBlockConfig()
    xlstm: XLSTMBlockConfig = XLSTMBlockConfig()
    transformer: TransformerBlockConfig = TransformerBlockConfig()
    mamba2: Mamba2BlockConfig = Mamba2BlockConfig()
    minimal: MinimalBlockConfig = MinimalBlockConfig()
    griffin: GriffinBlockConfig = GriffinBlockConfig()
    rwkv6: RWKV6BlockConfig = RWKV6BlockConfig()

    @property
    def letters(self) -> str:
        """The pattern, a letter a block.

        Raises:
            UsageError: no block, or more than can be; an xLSTM[a:b] whose blocks do not make up `num_blocks`, or
                `num_blocks` with another pattern.
        """
        ratio = re.fullmatch(r"xLSTM\[(\d{1,9}):(\d{1,9})\]", self.pattern)
        if ratio is None:
            if self.num_blocks not in (0, len(self.pattern)):
                raise UsageError(
                    f"model.num_blocks {self.num_blocks} does not fit model.pattern {self.pattern!r}, which has "
                    f"{len(self.pattern)} blocks; it is for patterns such as 'xLSTM[7:1]'"
                )
            _check_depth(self.pattern, len(self.pattern))
            return self.pattern
        sizes = int(ratio[1]), int(ratio[2])
        _check_depth(self.pattern, sum(sizes))
        repeats, rest = divmod(self.num_blocks or sum(sizes), sum(sizes))
        if rest:
            raise UsageError(
                f"model.num_blocks {self.num_blocks} is not a multiple of the {sum(sizes)} blocks of {self.pattern}"
            )
        return repeats * ("m" * sizes[0] + "s" * sizes[1])

    def __post_init__(self):
        super().__post_init__()
        if self.recurrent.ffn_factor and not self.recurrent.residual:
            raise UsageError(
                f"model.recurrent.ffn_factor {self.recurrent.ffn_factor} needs model.recurrent.residual=True; "
                "what it adds goes onto the layer's residual sum"
            )


def inner_width(config: ModelConfig, block: str, factor: str | None, *, heads: int = 1) -> int:
    """Features inside a block: round(config.BLOCK.FACTOR * config.features), a multiple of `heads`.

    Without a factor they are the model's own.

    Raises:
        UsageError: it comes to 0, or `heads` do not divide it.
    """
    value = getattr(getattr(config, block), factor) if factor else 1.0
    width = round(value * config.features)
    if not width:
        raise UsageError(
            f"model.{block}.{factor} {value} is not allowed; of model.features {config.features} it makes a width of 0"
        )
    if width % heads:
        raise UsageError(
            f"model.features {config.features} does not fit {block}.num_heads {heads}: "
            f"the inner width {width} is not a multiple of it"
        )
    return width
