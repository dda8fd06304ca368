"""Prefill and greedy decoding from one checkpoint, with this library and with `transformers` in PyTorch, float32.

The model is a small xLSTM 7B: 4 blocks of 256 features, 4 heads with K = V = 64 (equal, as transformers' own path
requires), a vocabulary of 5,192, random weights. It is saved as a Hugging Face folder and loaded by both libraries, so
both use the same weights. `error` is that of our logits relative to theirs.

Prefill processes 256 tokens and keeps the state and all logits: a compiled `unroll`, and a call of transformers' model.
Decoding reads a prompt of 64 tokens and generates 32, which are counted: `xlstm_jax.generate`, one compiled loop, and
the model's own eager `generate`. If the official package `xlstm` is installed, transformers runs its kernels, here
those in plain PyTorch. PyTorch runs with one thread (ratios are relative to this case) and with one thread per core: on
a busy machine its threads wait for each other.
"""

import functools
import os
import tempfile
from collections.abc import Callable

import numpy as np

from experiments.benching.base import SUITES, relative_error
from experiments.benching.timing import Case, Facts

VOCABULARY, FEATURES, HEADS = 5_192, 256, 4
BATCHES = (1, 8)
CHUNK = 64  # of transformers' path, which accepts only whole chunks


@SUITES.register("inference")
def inference(tiny: bool) -> list[Case]:
    """One group for each phase and batch size; transformers first, if installed."""
    blocks, prefill, length = (1, CHUNK, 2) if tiny else (4, 4 * CHUNK, CHUNK // 2)
    ours, theirs = _models(blocks)
    cases = []
    for batch in BATCHES:
        tokens = np.random.default_rng(0).integers(0, VOCABULARY, (batch, prefill), np.int32)
        group = f"prefill, batch {batch}"
        cases += [*_their_prefill(group, theirs, tokens), _our_prefill(group, ours, theirs, tokens)]
        group, prompt = f"decode, batch {batch}", tokens[:, :CHUNK]
        cases += [*_their_decoding(group, theirs, prompt, length), _our_decoding(group, ours, prompt, length)]
    return cases


def _models(blocks: int):
    """Returns our model and transformers' model with the same weights; None if transformers is not installed."""
    from xlstm_jax.models import ModelConfig, build_model, huggingface
    from xlstm_jax.models.blocks.xlstm import XLSTMBlockConfig

    block = XLSTMBlockConfig(num_heads=HEADS, qk_factor=1.0)
    sizes = {"vocab_size": VOCABULARY, "features": FEATURES, "pattern": f"xlstm*{blocks}", "blocks": (block,)}
    config = ModelConfig(norm="rms", norm_eps=1e-6, logit_softcap=30.0, **sizes)
    keys = {"chunk_size": CHUNK, "chunkwise_kernel": "chunkwise--native_autograd", "mode": "inference"}
    keys |= {"sequence_kernel": "native_sequence__native", "step_kernel": "native"}
    with tempfile.TemporaryDirectory() as folder:
        huggingface.save(build_model(config), f"{folder}/model", config=keys)
        return huggingface.load(f"{folder}/model"), _theirs(f"{folder}/model")


def _theirs(folder: str):
    try:
        import torch  # noqa: F401 (transformers has no models without it)
        from transformers import xLSTMForCausalLM
        from transformers.utils import logging
    except ImportError:
        return None
    logging.disable_progress_bar()
    return xLSTMForCausalLM.from_pretrained(folder).eval()


def _our_prefill(group: str, model, theirs, tokens: np.ndarray) -> Case:
    import jax
    from flax import nnx

    graphdef, weights = nnx.split(model)

    @jax.jit
    def read(weights, tokens):
        return nnx.merge(graphdef, weights).unroll(tokens)

    def facts():
        if theirs is None:
            return Facts()
        logits = _read(theirs, tokens).logits.numpy().astype(np.float64)
        return Facts(error=relative_error(np.asarray(read(weights, tokens)[0], np.float64), logits))

    return Case(group, "xlstm_jax", lambda: jax.block_until_ready(read(weights, tokens)), tokens.size, facts=facts)


def _our_decoding(group: str, model, prompt: np.ndarray, length: int) -> Case:
    import jax
    import jax.numpy as jnp

    from xlstm_jax.generate import generate

    run = functools.partial(generate, model, jnp.asarray(prompt), length=length, temperature=0.0)
    return Case(group, "xlstm_jax", lambda: jax.block_until_ready(run()), len(prompt) * length)


def _their_prefill(group: str, model, tokens: np.ndarray) -> list[Case]:
    return _their_cases(group, model, lambda: _read(model, tokens), tokens.size)


def _read(model, tokens: np.ndarray):
    import torch

    with torch.no_grad():
        return model(torch.tensor(tokens, dtype=torch.long), use_cache=True)


def _their_decoding(group: str, model, prompt: np.ndarray, length: int) -> list[Case]:
    def run():
        import torch

        tokens = torch.tensor(prompt, dtype=torch.long)
        with torch.no_grad():
            return model.generate(tokens, max_new_tokens=length, min_new_tokens=length, do_sample=False)

    return _their_cases(group, model, run, len(prompt) * length)


def _their_cases(group: str, model, run: Callable[[], object], tokens: int) -> list[Case]:
    """One case with one thread, and one with a thread per core."""
    if model is None:
        return []
    import torch

    def case(threads: int) -> Case:
        def once():
            torch.set_num_threads(threads)
            return run()

        return Case(group, f"transformers, {threads} thread{'s' if threads > 1 else ''}", once, tokens)

    return [case(threads) for threads in sorted({1, os.cpu_count() or 1})]
