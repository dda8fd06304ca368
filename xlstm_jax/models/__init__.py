"""Blocks, stacks of them by pattern, and the one function that builds a model from its config."""

from xlstm_jax.models.blocks import BLOCKS
from xlstm_jax.models.config import ModelConfig
from xlstm_jax.models.language_model import LanguageModel, build_model

__all__ = ["BLOCKS", "LanguageModel", "ModelConfig", "build_model"]
