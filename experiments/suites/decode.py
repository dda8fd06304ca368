"""Greedy decoding, one token at a time: batch 1, 4 blocks of 256 features, a vocabulary of 65, float32.

"generate" is `xlstm_jax.generate`, one compiled loop. "a call a token" calls a compiled step from Python for each
token, as a program must to print each token immediately. If the package `xlstm` is installed, "official PyTorch" is the
step of the official model, in the loop that its users write.
"""

import os

from experiments.benching.base import SUITES
from experiments.benching.timing import Case

PATTERNS = {"mLSTM": "mmmm", "xLSTM": "msmm", "LSTM": "rrrr"}
FEATURES, VOCABULARY = 256, 65


@SUITES.register("decode")
def decode(tiny: bool) -> list[Case]:
    """Groups by the kind of blocks; the official PyTorch code first, if it is installed and has them."""
    length = 4 if tiny else 128
    cases = []
    for group, pattern in PATTERNS.items():
        cases += _official(group, pattern, length) + _ours(group, pattern, length)
    return cases


def _ours(group: str, pattern: str, length: int) -> list[Case]:
    import jax
    import jax.numpy as jnp
    from flax import nnx

    from xlstm_jax.generate import generate
    from xlstm_jax.models import LanguageModel
    from xlstm_jax.models.config import ModelConfig

    config = ModelConfig(vocab_size=VOCABULARY, features=FEATURES, pattern=pattern)
    model = LanguageModel(config, rngs=nnx.Rngs(0))
    graphdef, weights = nnx.split(model)
    first = jnp.zeros((1, 1), jnp.int32)

    @jax.jit
    def step(weights, token, carry):
        logits, carry = nnx.merge(graphdef, weights).unroll(token, carry)
        return jnp.argmax(logits[:, -1:], axis=-1).astype(jnp.int32), carry

    def loop():
        return jax.block_until_ready(generate(model, first, length=length, temperature=0.0, prefill_chunk=1))

    def calls():
        token, carry, tokens = first, model.init_carry(1), []
        for _ in range(length):
            token, carry = step(weights, token, carry)
            tokens.append(int(token[0, 0]))
        return tokens

    return [Case(group, "generate", loop, length), Case(group, "a call a token", calls, length)]


def _official(group: str, pattern: str, length: int) -> list[Case]:
    if "r" in pattern:
        return []
    try:
        import torch
        import xlstm
    except ImportError:
        return []
    torch.set_num_threads(os.cpu_count() or 1)
    slstm = xlstm.sLSTMBlockConfig(
        slstm=xlstm.sLSTMLayerConfig(backend="vanilla", dtype="float32"), feedforward=xlstm.FeedForwardConfig()
    )
    config = xlstm.xLSTMLMModelConfig(
        mlstm_block=xlstm.mLSTMBlockConfig(),
        slstm_block=slstm if "s" in pattern else None,
        slstm_at=[index for index, letter in enumerate(pattern) if letter == "s"],
        num_blocks=len(pattern),
        embedding_dim=FEATURES,
        context_length=256,
        vocab_size=VOCABULARY,
    )
    model = xlstm.xLSTMLMModel(config).eval()

    def run():
        token, state, tokens = torch.zeros((1, 1), dtype=torch.long), {}, []
        with torch.no_grad():
            for _ in range(length):
                logits, state = model.step(token, state=state)
                token = logits[:, -1:].argmax(-1)
                tokens.append(int(token[0, 0]))
        return tokens

    return [Case(group, "official PyTorch", run, length)]
