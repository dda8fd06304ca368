"""Baselines with the weights of `transformers`' models: equal logits, for a whole sequence and token by token."""

import dataclasses
import types

import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.examples import OPTIONS, error, example, small

transformers = pytest.importorskip("transformers", reason="transformers is not installed")
torch = pytest.importorskip("torch", reason="PyTorch is not installed")
pytestmark = pytest.mark.peers

VOCABULARY, FEATURES, BLOCKS = 11, 16, 2
TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 12))
SIZES = {"vocab_size": VOCABULARY, "hidden_size": FEATURES, "num_hidden_layers": BLOCKS, "tie_word_embeddings": False}


def randomised(model):
    """Weights large enough that every part matters; those of norms around 1."""
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


def conv(weights, name):
    return {"kernel": jnp.asarray(weights[f"{name}.weight"][:, 0].T), "bias": jnp.asarray(weights[f"{name}.bias"])}


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
    options = dataclasses.replace(OPTIONS["transformer"], window=32)
    ours = small("t" * BLOCKS, norm="rms", norm_eps=1e-5, transformer=options)
    assert_equal_logits(ours, around(weights, blocks, "model.embed_tokens", "model.norm"), wanted)


def test_mamba2():
    """State space duality with its convolution and gated norm. One group, for which both surely agree."""
    options = dataclasses.replace(OPTIONS["mamba2"], num_groups=1)
    sizes = {"num_heads": 4, "head_dim": 8, "state_size": 4, "n_groups": 1, "expand": 2, "chunk_size": 4}
    config = transformers.Mamba2Config(**SIZES, **sizes, layer_norm_epsilon=1e-5)
    weights, wanted = randomised(transformers.Mamba2ForCausalLM(config).eval())
    blocks = []
    for layer in (f"backbone.layers.{n}" for n in range(BLOCKS)):
        mixer = f"{layer}.mixer"
        blocks.append(
            {name: jnp.asarray(weights[f"{mixer}.{name}"]) for name in ("A_log", "dt_bias", "D")}
            | {"up": kernel(weights, f"{mixer}.in_proj"), "down": kernel(weights, f"{mixer}.out_proj")}
            | {"norm": scale(weights, f"{layer}.norm"), "gated_norm": scale(weights, f"{mixer}.norm")}
            | {"conv": conv(weights, f"{mixer}.conv1d")}
        )
    ours = small("d" * BLOCKS, norm="rms", norm_eps=1e-5, mamba2=options)
    assert_equal_logits(ours, around(weights, blocks, "backbone.embeddings", "backbone.norm_f"), wanted)


class RecurrentGemma(torch.nn.Module):
    """Only the recurrent layers of RecurrentGemma, between an embedding and a head.

    Positions start at 1: at position 0 it uses the input itself, where equation 4 of the paper has sqrt(1 - a^2).
    """

    def __init__(self, config):
        super().__init__()
        modeling = transformers.models.recurrent_gemma.modeling_recurrent_gemma
        self.embedding = torch.nn.Embedding(VOCABULARY, FEATURES)
        self.layers = torch.nn.ModuleList(modeling.RecurrentGemmaDecoderLayer(config, n) for n in range(BLOCKS))
        self.norm = modeling.RecurrentGemmaRMSNorm(FEATURES, eps=config.rms_norm_eps)
        self.lm_head = torch.nn.Linear(FEATURES, VOCABULARY, bias=False)

    def forward(self, tokens):
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x, position_ids=torch.arange(1, tokens.shape[1] + 1)[None], attention_mask=None, use_cache=False)
        return types.SimpleNamespace(logits=self.lm_head(self.norm(x)))


def test_griffin():
    """RG-LRU with gates by heads, after its convolution; theirs without the biases that the paper does not have."""
    sizes = {"num_attention_heads": 2, "lru_width": 24, "intermediate_size": 2 * 48, "conv1d_width": 4}
    kinds = {"block_types": ["recurrent"], "hidden_activation": "gelu"}
    model = RecurrentGemma(transformers.RecurrentGemmaConfig(**SIZES, **sizes, **kinds))
    for module in model.modules():
        if isinstance(module, torch.nn.Linear):
            module.bias = None
    weights, wanted = randomised(model.eval())
    weights |= {name: 1 + weight for name, weight in weights.items() if "norm" in name}  # they store the scale minus 1
    gates = {"w_r": "recurrent_gate_weight", "w_i": "input_gate_weight"}
    gates |= {"b_r": "recurrent_gate_bias", "b_i": "input_gate_bias"}
    blocks = []
    for layer in (f"layers.{n}" for n in range(BLOCKS)):
        mixer, ffn = f"{layer}.temporal_block", f"{layer}.mlp_block"
        unit = {ours: jnp.asarray(weights[f"{mixer}.rg_lru.{theirs}"]) for ours, theirs in gates.items()}
        unit = {name: leaf.reshape(-1) if name.startswith("b") else leaf for name, leaf in unit.items()}
        unit["lambda"] = -jnp.asarray(weights[f"{mixer}.rg_lru.recurrent_param"])
        both = np.concatenate([weights[f"{ffn}.{name}_proj.weight"] for name in ("gate", "up")])
        maps = {"gate": "linear_y", "up": "linear_x", "down": "linear_out"}
        blocks.append(
            {ours: kernel(weights, f"{mixer}.{theirs}") for ours, theirs in maps.items()}
            | {"conv": conv(weights, f"{mixer}.conv_1d"), "layer": {"layers": {0: unit}}}
            | {"ffn": {"up": {"kernel": jnp.asarray(both.T)}, "down": kernel(weights, f"{ffn}.down_proj")}}
            | {"norm": scale(weights, f"{layer}.temporal_pre_norm")}
            | {"ffn_norm": scale(weights, f"{layer}.channel_pre_norm")}
        )
    ours = small("g" * BLOCKS, norm="rms", norm_eps=1e-6)
    assert_equal_logits(ours, around(weights, blocks, "embedding", "norm"), wanted)
