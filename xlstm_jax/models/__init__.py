"""Blocks, stacks of them by pattern, and the one function that builds a model from its config."""

from xlstm_jax.models.blocks import BLOCKS, check_context
from xlstm_jax.models.config import ModelConfig
from xlstm_jax.models.encoder import Encoder
from xlstm_jax.models.language_model import LanguageModel, build_model, unscanned
from xlstm_jax.models.published import named

__all__ = ["BLOCKS", "Encoder", "LanguageModel", "ModelConfig", "build_model", "check_context", "named", "unscanned"]
