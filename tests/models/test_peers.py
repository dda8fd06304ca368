"""Baselines with the weights of `transformers`' models: equal logits, read at once and a token at a time."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.examples import SECTIONS, error, example, small

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.peers

VOCABULARY, FEATURES, BLOCKS = 11, 16, 2
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 12))
SIZES = {"vocab_size": VOCABULARY, "hidden_size": FEATURES, "num_hidden_layers": BLOCKS, "tie_word_embeddings": False}


def randomised(model):
    """Weights of a size that lets every part count; norms around 1."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            weight.copy_((1.0 if "norm" in name or name.endswith(".D") else 0.0) + 0.3 * torch.randn_like(weight))
    weights = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    with torch.no_grad():
        return weights, model(torch.tensor(TOKENS)).logits.numpy()


def kernel(weights, name):
    return {"kernel": jnp.asarray(weights[f"{name}.weight"].T)}


def scale(weights, name):
    return {"scale": jnp.asarray(weights[f"{name}.weight"])}


def around(weights, blocks, embedding, norm):
    return {
        "embedding": {"embedding": jnp.asarray(weights[f"{embedding}.weight"])},
        "blocks": dict(enumerate(blocks)),
        "norm": scale(weights, norm),
        "head": kernel(weights, "lm_head"),
    }


def assert_equal_logits(config, params, wanted):
    made = example(config)
    tokens = TOKENS.astype(np.int32)
    assert error(made.unroll(params, tokens)[0], wanted) <= 1e-5
    carry, steps = None, []
    for t in range(tokens.shape[1]):
        logits, carry = made.unroll(params, tokens[:, t : t + 1], carry)
        steps.append(logits)
    assert error(np.concatenate(steps, axis=1), wanted) <= 1e-5


def test_llama():
    """Grouped queries, rotary positions, SwiGLU."""
    sizes = {"num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 48, "rms_norm_eps": 1e-5}
    config = transformers.LlamaConfig(**SIZES, **sizes, attn_implementation="eager")
    weights, wanted = randomised(transformers.LlamaForCausalLM(config).eval())
    blocks = []
    for layer in (f"model.layers.{n}" for n in range(BLOCKS)):
        maps = {name: kernel(weights, f"{layer}.self_attn.{name}_proj") for name in "qkv"}
        ffn = {name: kernel(weights, f"{layer}.mlp.{name}_proj") for name in ("gate", "up", "down")}
        blocks.append(
            maps
            | {"out": kernel(weights, f"{layer}.self_attn.o_proj"), "ffn": ffn}
            | {"norm": scale(weights, f"{layer}.input_layernorm")}
            | {"ffn_norm": scale(weights, f"{layer}.post_attention_layernorm")}
        )
    options = dataclasses.replace(SECTIONS["transformer"], context=32)
    ours = small("t" * BLOCKS, norm="rms", norm_eps=1e-5, transformer=options)
    assert_equal_logits(ours, around(weights, blocks, "model.embed_tokens", "model.norm"), wanted)


def test_mamba2():
    """State space duality with its convolution and gated norm; one group, of which the two are surely the same."""
    options = dataclasses.replace(SECTIONS["mamba2"], num_groups=1)
    sizes = {"num_heads": 4, "head_dim": 8, "state_size": 4, "n_groups": 1, "expand": 2, "chunk_size": 4}
    config = transformers.Mamba2Config(**SIZES, **sizes, layer_norm_epsilon=1e-5)
    weights, wanted = randomised(transformers.Mamba2ForCausalLM(config).eval())
    blocks = []
    for layer in (f"backbone.layers.{n}" for n in range(BLOCKS)):
        mixer = f"{layer}.mixer"
        conv = {
            "kernel": jnp.asarray(weights[f"{mixer}.conv1d.weight"][:, 0].T),
            "bias": weights[f"{mixer}.conv1d.bias"],
        }
        blocks.append(
            {name: jnp.asarray(weights[f"{mixer}.{name}"]) for name in ("A_log", "dt_bias", "D")}
            | {"up": kernel(weights, f"{mixer}.in_proj"), "down": kernel(weights, f"{mixer}.out_proj")}
            | {"norm": scale(weights, f"{layer}.norm"), "gated_norm": scale(weights, f"{mixer}.norm"), "conv": conv}
        )
    ours = small("d" * BLOCKS, norm="rms", norm_eps=1e-5, mamba2=options)
    assert_equal_logits(ours, around(weights, blocks, "backbone.embeddings", "backbone.norm_f"), wanted)
