"""Published models by name: `build_model(named("xlstm_7b"))`. Tests check their parameter counts."""

from xlstm_jax.errors import UsageError
from xlstm_jax.models.blocks.xlstm import XLSTMBlockConfig
from xlstm_jax.models.config import ModelConfig

VOCABULARY = 50_304  # all models use GPT-NeoX's vocabulary, rounded up

# The family of xLSTM 7B, Beck et al. 2025 (arXiv 2503.13427): features, blocks, heads.
XLSTM_7B = {
    "xlstm_165m": (768, 12, 4),
    "xlstm_1.3b": (2048, 24, 4),
    "xlstm_2.7b": (2560, 32, 5),
    "xlstm_7b": (4096, 32, 8),
}
# The first paper, Beck et al. 2024 (arXiv 2405.04517): features, blocks. Each exists as xLSTM[1:0], and as xLSTM[7:1]
# if the number of blocks is a multiple of 8. Here every eighth block is then an sLSTM. The positions in the paper
# depend on the size; a pattern of letters can set them.
PAPER = {"120m": (768, 12), "165m": (768, 24), "1.3b": (2048, 48), "7b": (4096, 64)}


def names() -> tuple[str, ...]:
    """The names that `named` accepts."""
    paper = [f"paper_{ratio}_{size}" for size, (_, blocks) in PAPER.items() for ratio in _ratios(blocks)]
    return (*XLSTM_7B, *sorted(paper))


def named(name: str) -> ModelConfig:
    """The config of a published model; raises `UsageError` for an unknown name."""
    if name not in names():
        raise UsageError(f"unknown model {name!r}; known: {', '.join(names())}")
    both = {"vocab_size": VOCABULARY, "dtype": "bfloat16"}
    if name in XLSTM_7B:
        features, blocks, heads = XLSTM_7B[name]
        norms = {"norm": "rms", "norm_eps": 1e-6, "logit_softcap": 30.0}
        options = (XLSTMBlockConfig(num_heads=heads),)
        return ModelConfig(features=features, pattern=f"xlstm*{blocks}", blocks=options, **norms, **both)
    _, a, b, size = name.split("_")
    features, blocks = PAPER[size]
    return ModelConfig(features=features, pattern=f"xLSTM[{a}:{b}]", num_blocks=blocks, **both)


def _ratios(blocks: int) -> tuple[str, ...]:
    return ("1_0", "7_1") if blocks % 8 == 0 else ("1_0",)
