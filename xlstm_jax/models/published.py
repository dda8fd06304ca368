"""Published models by name: `build_model(named("xlstm_7b"))`. Sizes are counted from shapes in the tests."""

import dataclasses

from xlstm_jax.models.config import ModelConfig, SLSTMBlockConfig, XLSTMBlockConfig
from xlstm_jax.registry import Registry

NAMED: Registry[ModelConfig] = Registry("model name")

# GPT-NeoX's, rounded up, in all of them.
VOCABULARY = 50_304


def named(name: str) -> ModelConfig:
    """The config of a published model.

    Raises:
        UsageError: an unknown name, with those there are.
    """
    return NAMED.get(name)


def _xlstm(features: int, blocks: int, heads: int) -> ModelConfig:
    """The family of xLSTM 7B: Beck et al. 2025 (arXiv 2503.13427)."""
    return ModelConfig(
        vocab_size=VOCABULARY,
        features=features,
        pattern="x" * blocks,
        norm="rms",
        norm_eps=1e-6,
        logit_softcap=30.0,
        dtype="bfloat16",
        xlstm=XLSTMBlockConfig(num_heads=heads),
    )


def _paper(features: int, blocks: int, pattern: str) -> ModelConfig:
    """The blocks of the first paper: Beck et al. 2024 (arXiv 2405.04517). Of xLSTM[7:1] every eighth block is an sLSTM
    here; the paper's own places differ from size to size and can be given as a pattern of letters."""
    config = ModelConfig(vocab_size=VOCABULARY, features=features, pattern=pattern, num_blocks=blocks, dtype="bfloat16")
    return dataclasses.replace(config, slstm=SLSTMBlockConfig(num_heads=4))


for _name, _sizes in {
    "xlstm_165m": (768, 12, 4),
    "xlstm_1.3b": (2048, 24, 4),
    "xlstm_2.7b": (2560, 32, 5),
    "xlstm_7b": (4096, 32, 8),
}.items():
    NAMED.register(_name)(_xlstm(*_sizes))
for _name, _sizes in {"120m": (768, 12), "165m": (768, 24), "1.3b": (2048, 48), "7b": (4096, 64)}.items():
    NAMED.register(f"paper_1_0_{_name}")(_paper(*_sizes, "xLSTM[1:0]"))
    if _sizes[1] % 8 == 0:
        NAMED.register(f"paper_7_1_{_name}")(_paper(*_sizes, "xLSTM[7:1]"))
