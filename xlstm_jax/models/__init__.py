"""Models: stacks of blocks with inputs and heads."""

from xlstm_jax.models.blocks.base import BLOCKS, check_context
from xlstm_jax.models.config import ModelConfig, StackConfig
from xlstm_jax.models.language_model import LanguageModel, build_model
from xlstm_jax.models.published import named
from xlstm_jax.models.sequence_model import SequenceModel
from xlstm_jax.models.stack import Stack

__all__ = [
    "BLOCKS",
    "LanguageModel",
    "ModelConfig",
    "SequenceModel",
    "Stack",
    "StackConfig",
    "build_model",
    "check_context",
    "named",
]
