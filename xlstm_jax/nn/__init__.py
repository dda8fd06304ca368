"""Thin Flax NNX modules: they hold parameters and call cells and ops."""

from xlstm_jax.nn.conv import CausalConv
from xlstm_jax.nn.linear import Headwise, linear, small_init, wang_init
from xlstm_jax.nn.norm import HeadNorm, layer_norm
from xlstm_jax.nn.recurrent import Recurrent

__all__ = ["CausalConv", "HeadNorm", "Headwise", "Recurrent", "layer_norm", "linear", "small_init", "wang_init"]
