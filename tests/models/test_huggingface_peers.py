"""`transformers`' xLSTM checkpoints read here, and ours read there: logits and greedy tokens are equal."""

import dataclasses
import importlib.util
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.examples import changed, error, example
from tests.models.peer_xlstm import peer
from xlstm_jax.generate import generate
from xlstm_jax.models import ModelConfig, huggingface
from xlstm_jax.models.blocks.xlstm import XLSTMBlockConfig

torch = pytest.importorskip("torch", reason="compares with transformers, which needs torch")
transformers = pytest.importorskip("transformers", reason="compares with transformers, which is not installed")
pytestmark = pytest.mark.peers

# Without the official package, transformers uses its own code, which requires K = V.
SIZES = {"vocab_size": 37, "num_hidden_layers": 3, "ffn_round_up_to_multiple_of": 8}
SQUARE = SIZES | {"hidden_size": 64, "num_heads": 4, "qk_dim_factor": 1.0, "v_dim_factor": 1.0}
OBLONG = SIZES | {"hidden_size": 128, "num_heads": 4, "qk_dim_factor": 0.5, "v_dim_factor": 1.5}
official = pytest.mark.skipif(
    importlib.util.find_spec("xlstm") is None, reason="K unlike V needs the official package xlstm"
)
PEERS = {
    "K as V": (SQUARE, ()),
    "K unlike V": (OBLONG, official),
    "other eps and caps": (
        SQUARE | {"norm_eps": 1e-3, "eps": 1e-2, "gate_soft_cap": 3.0, "output_logit_soft_cap": 4.0},
        (),
    ),
    "add_out_norm false": (SQUARE | {"add_out_norm": False}, ()),
    "tie_word_embeddings": (SQUARE | {"tie_word_embeddings": True}, ()),
}
TOKENS = np.random.default_rng(0).integers(0, 37, (2, 16), np.int32)


def theirs(model, tokens=TOKENS):
    with torch.no_grad():
        return model(torch.tensor(tokens, dtype=torch.long)).logits.float().numpy()


def greedy(model, prompt, length):
    tokens = torch.tensor(prompt, dtype=torch.long)
    return model.generate(tokens, max_new_tokens=length, do_sample=False)[:, prompt.shape[1] :].numpy()


@pytest.mark.parametrize("case", [pytest.param(name, marks=marks) for name, (_, marks) in PEERS.items()])
def test_logits_and_greedy_tokens(tmp_path, case):
    """Logits to 1e-4; all greedy tokens."""
    model = peer(**PEERS[case][0])
    model.save_pretrained(tmp_path / "folder")
    ours = huggingface.load(tmp_path / "folder")
    wanted = theirs(model)
    logits = np.asarray(jax.jit(ours)(TOKENS))
    assert np.abs(logits - wanted).max() <= 1e-4 and np.std(wanted) > 0.5
    assert error(logits, wanted) <= 1e-5
    tokens = generate(ours, jnp.asarray(TOKENS[:, :8]), length=24, temperature=0.0)
    assert np.array_equal(tokens, greedy(model, TOKENS[:, :8], 24))
    assert len(np.unique(tokens)) > 5


@pytest.mark.parametrize("max_shard_size", ["1GB", "100KB"])
def test_files_in_bfloat16(tmp_path, max_shard_size):
    """Logits in float32 from the same rounded weights; with one file and several."""
    model = peer(**SQUARE).to(torch.bfloat16)
    model.save_pretrained(tmp_path / "folder", max_shard_size=max_shard_size)
    assert (len(list((tmp_path / "folder").glob("*.safetensors"))) > 1) == (max_shard_size == "100KB")
    ours = huggingface.load(tmp_path / "folder", param_dtype="file")
    assert ours.head.kernel[...].dtype == jnp.bfloat16
    assert np.abs(np.asarray(jax.jit(ours)(TOKENS)) - theirs(model.float())).max() <= 1e-4


# The total widths of keys and of values are multiples of 64, to which the official code rounds them up.
BLOCK = XLSTMBlockConfig(num_heads=2, qk_factor=2.0, v_factor=2.0, ffn_factor=1.3, ffn_multiple=1)
SIZES = {"vocab_size": 37, "features": 32, "pattern": "xx", "blocks": (BLOCK,)}
CONFIG = ModelConfig(norm="rms", norm_eps=1e-6, logit_softcap=30.0, **SIZES)


@pytest.mark.parametrize(
    "changes",
    [{}, {"tie_embedding": True}, {"logit_softcap": 0.0, "xlstm": dataclasses.replace(BLOCK, gate_softcap=0.0)}],
    ids=["plain", "tied", "no caps"],
)
def test_ours_read_there(tmp_path, changes):
    made = example(changed(CONFIG, **changes))
    huggingface.save(made.model(), tmp_path / "folder", max_shard_size=50_000)
    model, report = transformers.xLSTMForCausalLM.from_pretrained(tmp_path / "folder", output_loading_info=True)
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert np.abs(np.asarray(made.unroll(made.params, TOKENS)[0]) - theirs(model.eval())).max() <= 1e-4


@official
def test_fused_weights_are_those_of_the_official_code(tmp_path):
    """transformers cannot make a model with fused weights; the official package can."""
    from xlstm.xlstm_large.model import xLSTMLarge, xLSTMLargeConfig

    single = peer(**OBLONG)
    single.save_pretrained(tmp_path / "single")
    ours = huggingface.load(tmp_path / "single")
    huggingface.save(ours, tmp_path / "fused", weight_mode="fused")
    keys = json.loads((tmp_path / "fused" / "config.json").read_text())
    names = {field for field in xLSTMLargeConfig.__dataclass_fields__ if field in keys}
    kernels = ("chunkwise_kernel", "sequence_kernel", "step_kernel", "mode", "chunk_size")
    options = {name: getattr(single.config, name) for name in kernels} | {"autocast_kernel_dtype": "float32"}
    model = xLSTMLarge(xLSTMLargeConfig(**{name: keys[name] for name in names}, **options)).eval()
    from safetensors.torch import load_file

    weights = load_file(tmp_path / "fused" / "model.safetensors")
    weights["embedding.weight"] = weights.pop("backbone.embeddings.weight")
    model.load_state_dict(weights)
    with torch.no_grad():
        wanted = model(torch.tensor(TOKENS, dtype=torch.long))
    assert np.abs(theirs(single) - wanted.numpy()).max() <= 1e-4
    again = huggingface.load(tmp_path / "fused")
    assert np.array_equal(jax.jit(again)(TOKENS), jax.jit(ours)(TOKENS))
