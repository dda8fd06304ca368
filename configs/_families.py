"""The families of models that configs, sweeps and documentation compare, each written once."""

from collections.abc import Callable
from typing import NamedTuple

from ml_collections import ConfigDict


class Family(NamedTuple):
    """One kind of model.

    `block` is a name in `xlstm_jax.models.BLOCKS`; `cell` a name in `CELLS`, if the block takes one.
    """

    label: str  # in tables and figures
    block: str
    cell: str = ""


FAMILIES = {
    "rnn": Family("RNN", "recurrent", "rnn"),
    "lstm_1997": Family("LSTM (1997)", "recurrent", "lstm_1997"),
    "lstm": Family("LSTM", "recurrent", "lstm"),
    "gru": Family("GRU", "recurrent", "gru"),
    "slstm": Family("sLSTM", "slstm"),
    "mlstm": Family("mLSTM", "mlstm"),
    "xlstm_7b": Family("xLSTM 7B's block", "xlstm"),
    "transformer": Family("Transformer", "transformer"),
    "mamba2": Family("Mamba-2", "mamba2"),
    "minlstm": Family("minLSTM", "minimal", "minlstm"),
    "mingru": Family("minGRU", "minimal", "mingru"),
    "griffin": Family("Griffin (RG-LRU)", "griffin"),
    "rwkv6": Family("RWKV-6", "rwkv6"),
}

# Blocks and features at which a character model of Tiny Shakespeare has about a million parameters.
MILLION = {
    "rnn": (2, 484),
    "lstm": (2, 244),
    "gru": (2, 280),
    "slstm": (3, 224),
    "mlstm": (3, 224),
    "xlstm_7b": (3, 160),
    "transformer": (3, 160),
    "mamba2": (4, 188),
    "minlstm": (3, 140),
    "mingru": (3, 148),
    "griffin": (3, 148),
    "rwkv6": (3, 140),
}


def use(config: ConfigDict, name: str, blocks: int) -> None:
    """Makes the model that many blocks of one family."""
    family = FAMILIES[name]
    config.model.pattern = f"{family.block}*{blocks}"
    if family.cell:
        config.model[family.block].cell = family.cell


def xlstm(config: ConfigDict) -> None:
    """A variant: an mLSTM block and an sLSTM block."""
    config.model.pattern = "ms"


def alternating_xlstm(config: ConfigDict) -> None:
    """A variant: an mLSTM block that reads forward and an sLSTM block that reads backward."""
    xlstm(config)
    config.model.directions = "alternate"


def stack_of(
    name: str, blocks: int = 2, directions: str = "", *, embedding_std: float = 1.0
) -> Callable[[ConfigDict], None]:
    """A variant: that many blocks of one family.

    Args:
        directions: of a model that can read backward too; "": the config's own.
        embedding_std: of the embeddings of plain recurrent layers at the start.
    """

    def change(config: ConfigDict) -> None:
        use(config, name, blocks)
        if directions:
            config.model.directions = directions
        if FAMILIES[name].block == "recurrent" and "embedding_std" in config.model:
            config.model.embedding_std = embedding_std

    return change
