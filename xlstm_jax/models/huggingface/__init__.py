"""Checkpoints in the format of NX-AI/xLSTM-7b: folders with safetensors and Hugging Face's `model_type` "xlstm"."""

from xlstm_jax.models.huggingface.checkpoint import load, save
from xlstm_jax.models.huggingface.config import read_config

__all__ = ["load", "read_config", "save"]
