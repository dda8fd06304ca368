"""Folders in the format of NX-AI/xLSTM-7b: written and read again, and one that `transformers` wrote."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from tests.models.examples import FEATURES, VOCABULARY, changed, error, example
from tests.models.golden.make_huggingface import FOLDER as GOLDEN
from tests.models.huggingface_folders import BLOCK, CONFIG, change_config, saved
from xlstm_jax.models import huggingface
from xlstm_jax.models.blocks.xlstm import XLSTMBlockConfig

TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 7), np.int32)


def params(model) -> dict:
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.split(model)[1]))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def same(one, other) -> bool:
    one, other = params(one), params(other)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize(
    ("weight_mode", "max_shard_size"),
    [
        ("single", 6000),
        ("fused", 10**9),
        pytest.param("single", 10**9, marks=pytest.mark.slow),
        pytest.param("fused", 6000, marks=pytest.mark.slow),
    ],
)
def test_there_and_back(tmp_path, weight_mode, max_shard_size):
    """The parameters and logits are the same; no file exceeds the maximum size."""
    model = example(CONFIG).model()
    folder = saved(tmp_path / "new" / "folder", weight_mode=weight_mode, max_shard_size=max_shard_size)
    found = sorted(path.name for path in folder.glob("*.safetensors"))
    names = {name for path in folder.glob("*.safetensors") for name in load_file(path)}
    assert ("backbone.blocks.1.mlstm_layer.qkv_opreact.weight" in names) == (weight_mode == "fused")
    if max_shard_size > 6000:
        assert found == ["model.safetensors"] and not (folder / "model.safetensors.index.json").exists()
    else:
        assert len(found) > 2 and found[0] == f"model-00001-of-{len(found):05d}.safetensors"
        index = json.loads((folder / "model.safetensors.index.json").read_text())
        assert index["weight_map"].keys() == names and set(index["weight_map"].values()) == set(found)
        sizes = [sum(array.nbytes for array in load_file(folder / name).values()) for name in found]
        assert max(sizes) <= 6000 and sum(sizes) == index["metadata"]["total_size"]
    back = huggingface.load(folder)
    assert same(back, model)
    assert np.array_equal(back(TOKENS), model(TOKENS)) and back(TOKENS).shape == (2, 7, VOCABULARY)
    rounded = CONFIG.with_options(dataclasses.replace(BLOCK, ffn_features=24))
    assert back.config == rounded
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]
    assert len({path.stat().st_mode for path in folder.iterdir()}) == 1


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_smaller_files(tmp_path, dtype):
    """Matrices in the file's dtype, or all in float32: both have the rounded values."""
    folder = saved(tmp_path / "folder", dtype=dtype)
    assert {str(array.dtype) for array in load_file(folder / "model.safetensors").values()} == {dtype}
    assert json.loads((folder / "config.json").read_text())["dtype"] == dtype
    wide, narrow = huggingface.load(folder), huggingface.load(folder, param_dtype="file", dtype="bfloat16")
    assert {str(array.dtype) for array in params(wide).values()} == {"float32"}
    for name, array in params(example(CONFIG).model()).items():
        for back in (params(wide)[name], params(narrow)[name]):
            assert np.array_equal(back.astype(np.float32), array.astype(dtype).astype(np.float32))
        assert params(narrow)[name].dtype == (dtype if array.ndim == 2 else "float32")
    with jax.numpy_dtype_promotion("standard"):  # Flax's norms mix dtypes inside
        assert error(narrow(TOKENS), wide(TOKENS)) < 5e-2
    huggingface.save(narrow, tmp_path / "again", weight_mode="fused")
    again = huggingface.load(tmp_path / "again", param_dtype="file")
    assert same(again, narrow) and {name: a.dtype for name, a in params(again).items()} == {
        name: a.dtype for name, a in params(narrow).items()
    }


@pytest.mark.parametrize(
    "changes",
    [
        {"tie_embedding": True},
        {"final_norm": False},
        {"logit_softcap": 0.0, "xlstm": dataclasses.replace(BLOCK, gate_softcap=0.0, eps=1e-5)},
        {"norm_eps": 1e-3, "xlstm": dataclasses.replace(BLOCK, norm_eps=1e-3, ffn_features=20)},
    ],
    ids=["tied", "no final norm", "no caps", "other widths and eps"],
)
def test_options_of_the_model(tmp_path, changes):
    model = example(changed(CONFIG, **changes)).model()
    huggingface.save(model, tmp_path / "folder")
    back = huggingface.load(tmp_path / "folder")
    assert same(back, model)
    own = model.config.options(XLSTMBlockConfig)
    wanted = dataclasses.replace(own, ffn_features=own.ffn_width(FEATURES))
    # Another rule may give the width; the width is the same.
    rule = {name: getattr(back.config.options(XLSTMBlockConfig), name) for name in ("ffn_factor", "ffn_multiple")}
    assert back.config == model.config.with_options(dataclasses.replace(wanted, **rule))
    assert np.array_equal(back(TOKENS), model(TOKENS))


@pytest.mark.parametrize(("inner", "factor"), [(24, 1.2), (20, 1.2), (24, 1.0001), (48, 3.0)])
def test_both_rules_of_rounding_give_the_width(tmp_path, inner, factor):
    """Rounded up to a multiple, directly or after truncating the product to an integer."""
    block = dataclasses.replace(BLOCK, ffn_features=inner, ffn_factor=factor)
    saved(tmp_path / "folder", CONFIG.with_options(block))
    values = json.loads((tmp_path / "folder" / "config.json").read_text())
    product, multiple = values["ffn_proj_factor"] * FEATURES, values["ffn_round_up_to_multiple_of"]
    assert -(-product // multiple) * multiple == -(-int(product) // multiple) * multiple == inner


def test_head_of_a_file(tmp_path):
    """A separate head if it differs from the embedding, for any flag; tied if it is missing and there is no flag."""
    folder = saved(tmp_path / "folder")
    assert not huggingface.load(change_config(folder, tie_word_embeddings=True)).config.tie_embedding
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors")
    tied = huggingface.load(folder)
    assert tied.config.tie_embedding and "['head']['kernel']" not in params(tied)
    assert huggingface.load(change_config(folder, tie_word_embeddings=...)).config.tie_embedding


def test_a_norm_in_the_file_is_used(tmp_path):
    """Like `transformers`, which writes and applies it even if add_out_norm is false."""
    folder = saved(tmp_path / "folder")
    assert same(huggingface.load(change_config(folder, add_out_norm=False)), example(CONFIG).model())


def test_old_names_and_keys(tmp_path):
    folder = saved(tmp_path / "folder")
    weights = load_file(folder / "model.safetensors")
    weights["embedding.weight"] = weights.pop("backbone.embeddings.weight")
    save_file(weights, folder / "model.safetensors")
    change_config(folder, hidden_size=..., num_hidden_layers=..., tie_word_embeddings=...)
    assert same(huggingface.load(folder), example(CONFIG).model())


def test_what_goes_along(tmp_path):
    """Further keys do not override the model's."""
    more = {"config": {"eos_token_id": 2, "num_heads": 9}, "beside": {"tokenizer.json": b"{}"}}
    folder = saved(tmp_path / "folder", **more)
    values = json.loads((folder / "config.json").read_text())
    assert (values["eos_token_id"], values["bos_token_id"], values["num_heads"]) == (2, None, 2)
    assert (folder / "tokenizer.json").read_text() == "{}"


def test_golden():
    """Logits of `transformers`, from tests/models/golden/make_huggingface.py; K 32, V 64, weights in bfloat16."""
    model = huggingface.load(GOLDEN)
    assert model.blocks[0].sizes == (2, 32, 64) and model.config.layers == ("xlstm", "xlstm")
    expected = np.load(GOLDEN / "expected.npz")
    assert error(jax.jit(model)(expected["tokens_BT"]), expected["logits_BTA"]) <= 1e-5


def test_gates_with_kernels_in_bfloat16_are_computed_in_float32(tmp_path):
    """Soft caps and gates use the rounded weights, without further rounding."""
    folder = saved(tmp_path / "folder", dtype="bfloat16")
    block = huggingface.load(folder, param_dtype="file").blocks[0]
    x = np.random.default_rng(1).standard_normal((2, FEATURES)).astype(np.float32)
    kernel, bias = np.asarray(block.f.kernel[...]), np.asarray(block.f.bias[...])
    assert kernel.dtype == ml_dtypes.bfloat16
    assert error(block.f(jnp.asarray(x)), x.astype(np.float64) @ kernel.astype(np.float64) + bias) <= 1e-6
