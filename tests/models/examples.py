"""Small models in which every parameter matters: none keeps an initial value of zero or one."""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.models import BLOCKS, LanguageModel, ModelConfig, SequenceModel, build_model
from xlstm_jax.models.blocks.griffin import GriffinBlockConfig
from xlstm_jax.models.blocks.mamba2 import Mamba2BlockConfig
from xlstm_jax.models.blocks.minimal import MinimalBlockConfig
from xlstm_jax.models.blocks.mlstm import MLSTMBlockConfig
from xlstm_jax.models.blocks.rwkv6 import RWKV6BlockConfig
from xlstm_jax.models.blocks.slstm import SLSTMBlockConfig
from xlstm_jax.models.blocks.transformer import TransformerBlockConfig
from xlstm_jax.models.blocks.xlstm import XLSTMBlockConfig
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Features

VOCABULARY, FEATURES = 11, 16
# Different numbers of heads, so that mixing them up is noticed.
MLSTM, SLSTM = MLSTMBlockConfig(num_heads=2), SLSTMBlockConfig(num_heads=4)
OPTIONS = {
    "mlstm": MLSTM,
    "slstm": SLSTM,
    "xlstm": XLSTMBlockConfig(num_heads=2, ffn_multiple=8),
    "transformer": TransformerBlockConfig(num_heads=4, num_kv_heads=2, window=8, ffn_multiple=8),
    "mamba2": Mamba2BlockConfig(head_features=8, state_features=4, num_groups=2),
    "minimal": MinimalBlockConfig(ffn_multiple=8),
    "griffin": GriffinBlockConfig(num_heads=2, expansion=1.5, ffn_multiple=8),
    "rwkv6": RWKV6BlockConfig(head_features=8, mix_rank=3, decay_rank=4),
}


def small(pattern: str, **changes: Any) -> ModelConfig:
    options = tuple(OPTIONS.values())
    return changed(ModelConfig(vocab_size=VOCABULARY, features=FEATURES, pattern=pattern, blocks=options), **changes)


def changed(config: ModelConfig, **changes: Any) -> ModelConfig:
    """The config with other values; a block's name changes its options."""
    options = [changes.pop(name) for name in [*changes] if name in BLOCKS.names()]
    return dataclasses.replace(config.with_options(*options), **changes)


def reads_numbers(config: ModelConfig, width: int = FEATURES) -> SequenceModel:
    """A model with that config that reads real numbers."""
    sizes = {"dtype": config.dtype}
    return SequenceModel(
        config,
        lambda rngs: Features(width, config.features, std=config.embedding_std, rngs=rngs, **sizes),
        lambda rngs: Head(config.features, config.vocab_size, rngs=rngs, **sizes),
        rngs=nnx.Rngs(0),
    )


def abstract(config: ModelConfig) -> tuple[Any, dict]:
    """(graphdef, parameters as shapes); computes nothing."""
    graphdef, state = nnx.split(nnx.eval_shape(lambda: build_model(config)))
    return graphdef, nnx.to_pure_dict(state)


def random_params(shapes: dict, seed: int = 0) -> dict:
    """Normal values large enough to open and close gates; those of norms and skips around 1, variances above 0."""
    rng = np.random.default_rng(seed)

    def value(path, leaf):
        name, noise = str(path[-1].key), 0.4 * rng.standard_normal(leaf.shape)
        if name == "running_var":
            return jnp.asarray(np.exp(noise), leaf.dtype)
        return jnp.asarray((1.0 if name in ("scale", "skip") else 0.0) + noise, leaf.dtype)

    return jax.tree_util.tree_map_with_path(value, shapes)


@dataclasses.dataclass(frozen=True)
class Example:
    """A model, separate from its parameters, and its compiled `unroll`."""

    graphdef: Any
    params: dict

    def model(self, params: dict | None = None) -> LanguageModel:
        return nnx.merge(self.graphdef, self.params if params is None else params)

    @functools.cached_property
    def unroll(self):
        """unroll(params, tokens, carry, reset, lengths, key) -> (logits, carry), jitted."""

        def run(params, tokens, carry=None, reset=None, lengths=None, key=None):
            return self.model(params).unroll(tokens, carry, reset=reset, lengths=lengths, key=key)

        return jax.jit(run)


@functools.cache
def example(config: ModelConfig) -> Example:
    graphdef, shapes = abstract(config)
    return Example(graphdef, random_params(shapes))


def error(got: Any, wanted: Any) -> float:
    """||got - wanted|| / ||wanted||, in float64."""
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    assert got.shape == wanted.shape
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
