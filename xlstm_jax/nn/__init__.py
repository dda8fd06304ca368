"""Thin Flax NNX modules that hold parameters and call cells and ops."""

from xlstm_jax.nn.activations import gelu
from xlstm_jax.nn.attention import BahdanauAttention, LuongAttention
from xlstm_jax.nn.conv import CausalConv
from xlstm_jax.nn.crf import CRF
from xlstm_jax.nn.linear import Headwise, linear, small_init, wang_init
from xlstm_jax.nn.norm import NORMS, BatchNorm, HeadNorm, layer_norm, rms_norm, softcap
from xlstm_jax.nn.recurrent import Recurrent
from xlstm_jax.nn.recurrent_weights import Directions
from xlstm_jax.nn.tree import Tree

__all__ = [
    "CRF",
    "NORMS",
    "BahdanauAttention",
    "BatchNorm",
    "CausalConv",
    "Directions",
    "HeadNorm",
    "Headwise",
    "LuongAttention",
    "Recurrent",
    "Tree",
    "gelu",
    "layer_norm",
    "linear",
    "rms_norm",
    "small_init",
    "softcap",
    "wang_init",
]
