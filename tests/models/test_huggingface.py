"""Folders in the format of NX-AI/xLSTM-7b: written and read back, and all that can be wrong with one."""

import dataclasses
import json
import pathlib
import shutil

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import load_file, save_file

from tests.models.examples import FEATURES, VOCABULARY, error, example
from tests.models.golden.make_huggingface import FOLDER as GOLDEN
from xlstm_jax.errors import UsageError
from xlstm_jax.models import ModelConfig, huggingface
from xlstm_jax.models.config import XLSTMBlockConfig

TOKENS = np.random.default_rng(0).integers(0, VOCABULARY, (2, 7), np.int32)
# K 4, V 12, F 24: no two widths the same.
BLOCK = XLSTMBlockConfig(num_heads=2, qk_factor=0.5, v_factor=1.5, ffn_factor=1.2, ffn_multiple=8, norm_eps=1e-6)
CONFIG = ModelConfig(VOCABULARY, FEATURES, "xx", norm="rms", norm_eps=1e-6, logit_softcap=30.0, xlstm=BLOCK)


def params(model) -> dict:
    leaves = jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(nnx.split(model)[1]))
    return {jax.tree_util.keystr(path): np.asarray(leaf) for path, leaf in leaves}


def same(one, other) -> bool:
    one, other = params(one), params(other)
    return one.keys() == other.keys() and all(np.array_equal(one[name], other[name]) for name in one)


def saved(folder, model_config=CONFIG, **options) -> pathlib.Path:
    huggingface.save(example(model_config).model(), folder, **options)
    return folder


@pytest.mark.parametrize("weight_mode", ["single", "fused"])
@pytest.mark.parametrize("max_shard_size", [10**9, 6000])
def test_there_and_back(tmp_path, weight_mode, max_shard_size):
    """The same parameters, the same logits; files no larger than asked for."""
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
    rounded = dataclasses.replace(CONFIG, xlstm=dataclasses.replace(BLOCK, ffn_features=24))
    assert back.config == rounded
    assert [path.name for path in folder.parent.iterdir()] == ["folder"]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_smaller_files(tmp_path, dtype):
    """Matrices as the file has them, or all in float32: both are the rounded ones."""
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
    saved_again = tmp_path / "again"
    huggingface.save(narrow, saved_again)
    assert (saved_again / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()


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
    model = example(dataclasses.replace(CONFIG, **changes)).model()
    huggingface.save(model, tmp_path / "folder")
    back = huggingface.load(tmp_path / "folder")
    assert same(back, model)
    wanted = dataclasses.replace(model.config.xlstm, ffn_features=model.config.xlstm.ffn_width(FEATURES))
    # The rule that gives the width may be another one; the width is the same.
    rule = {name: getattr(back.config.xlstm, name) for name in ("ffn_factor", "ffn_multiple")}
    assert back.config == dataclasses.replace(model.config, xlstm=dataclasses.replace(wanted, **rule))
    assert np.array_equal(back(TOKENS), model(TOKENS))


@pytest.mark.parametrize(("inner", "factor"), [(24, 1.2), (20, 1.2), (24, 1.0001), (48, 3.0)])
def test_both_rules_of_rounding_give_the_width(tmp_path, inner, factor):
    """Rounded up to a multiple at once, and after the product was cut to a whole number."""
    block = dataclasses.replace(BLOCK, ffn_features=inner, ffn_factor=factor)
    saved(tmp_path / "folder", dataclasses.replace(CONFIG, xlstm=block))
    values = json.loads((tmp_path / "folder" / "config.json").read_text())
    product, multiple = values["ffn_proj_factor"] * FEATURES, values["ffn_round_up_to_multiple_of"]
    assert -(-product // multiple) * multiple == -(-int(product) // multiple) * multiple == inner


def test_head_of_a_file(tmp_path):
    """Its own where it differs from the embedding, whatever the flag; tied where it is missing and nothing is said."""
    folder = saved(tmp_path / "folder")
    assert not huggingface.load(change_config(folder, tie_word_embeddings=True)).config.tie_embedding
    weights = load_file(folder / "model.safetensors")
    del weights["lm_head.weight"]
    save_file(weights, folder / "model.safetensors")
    tied = huggingface.load(folder)
    assert tied.config.tie_embedding and "['head']['kernel']" not in params(tied)
    assert huggingface.load(change_config(folder, tie_word_embeddings=...)).config.tie_embedding


def test_a_norm_in_the_file_is_used(tmp_path):
    """As `transformers` does, which writes and applies it even where add_out_norm is false."""
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
    """Further keys do not win over the model's; files are copied."""
    (tmp_path / "tokenizer.json").write_text("{}")
    folder = saved(
        tmp_path / "folder", config={"eos_token_id": 2, "num_heads": 9}, beside=[tmp_path / "tokenizer.json"]
    )
    values = json.loads((folder / "config.json").read_text())
    assert (values["eos_token_id"], values["bos_token_id"], values["num_heads"]) == (2, None, 2)
    assert (folder / "tokenizer.json").read_text() == "{}"


def test_golden():
    """Logits of `transformers`, by tests/models/golden/make_huggingface.py; K 32, V 64, weights in bfloat16."""
    model = huggingface.load(GOLDEN)
    assert model.blocks[0].sizes == (2, 32, 64) and model.config.letters == "xx"
    expected = np.load(GOLDEN / "expected.npz")
    assert error(jax.jit(model)(expected["tokens_BT"]), expected["logits_BTA"]) <= 1e-5


def change_config(folder, **changes) -> pathlib.Path:
    """Keys set, or taken away by `...`."""
    values = json.loads((folder / "config.json").read_text()) | changes
    values = {name: value for name, value in values.items() if value is not ...}
    (folder / "config.json").write_text(json.dumps(values))
    return folder


def change_weights(folder, **changes) -> None:
    """Tensors of a file set, or taken away by None; a name's dots are written __."""
    path = folder / "model.safetensors"
    weights = load_file(path) | {name.replace("__", "."): array for name, array in changes.items()}
    save_file({name: array for name, array in weights.items() if array is not None}, path)


def cut(path: pathlib.Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def renamed(folder, name: str) -> None:
    index = folder / "model.safetensors.index.json"
    values = json.loads(index.read_text())
    values["weight_map"]["lm_head.weight"] = name
    index.write_text(json.dumps(values))


def pickled(folder) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


NAME = "backbone__blocks__0__mlstm_layer__"
# (what harms the folder, words of the message)
BAD = {
    "no folder": (shutil.rmtree, ["config.json does not exist; give the folder of a Hugging Face checkpoint"]),
    "no config": (lambda f: (f / "config.json").unlink(), ["config.json does not exist"]),
    "bad config": (lambda f: cut(f / "config.json", 20), ["config.json is no JSON", "fetch it again"]),
    "config no object": (lambda f: (f / "config.json").write_text("[1]"), ["config.json holds no JSON object"]),
    "config not UTF-8": (lambda f: (f / "config.json").write_bytes(b"\xff"), ["config.json is no JSON"]),
    "other model": (lambda f: change_config(f, model_type="llama"), ["model_type 'llama'; 'xlstm' alone"]),
    "biases": (lambda f: change_config(f, use_bias=True), ["has use_bias", "none can be loaded"]),
    "no size": (lambda f: change_config(f, num_heads=...), ["config.json has no num_heads"]),
    "no width": (
        lambda f: change_config(f, hidden_size=..., embedding_dim=...),
        ["config.json has no hidden_size or embedding_dim"],
    ),
    "size no number": (lambda f: change_config(f, num_heads="4"), ["num_heads '4'; it is a whole number over 0"]),
    "size a fraction": (lambda f: change_config(f, vocab_size=1.5), ["vocab_size 1.5; it is a whole number"]),
    "negative eps": (lambda f: change_config(f, eps=-1.0), ["eps -1.0; it is a number over 0"]),
    "heads": (lambda f: change_config(f, num_heads=3), ["heads 3"]),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), ["holds no model.safetensors and no model.safete"]),
    "pickle": (pickled, ["pytorch_model.bin is a pickle, which is never read"]),
    "truncated": (lambda f: cut(f / "model.safetensors", 3000), ["no whole safetensors file", "fetch it again"]),
    "empty file": (lambda f: cut(f / "model.safetensors", 0), ["no whole safetensors file"]),
    "other vocabulary": (
        lambda f: change_config(f, vocab_size=12),
        ["2 misshapen: backbone.embeddings.weight [11, 16] for [12, 16], lm_head.weight [11, 16]"],
    ),
    "more blocks": (
        lambda f: change_config(f, num_hidden_layers=3),
        ["15 missing: backbone.blocks.2.norm_mlstm.weight, ", " and 12 more"],
    ),
    "fewer blocks": (lambda f: change_config(f, num_hidden_layers=1), ["15 unexpected: ", " and 12 more"]),
    "a bias": (
        lambda f: change_weights(f, **{NAME + "q__bias": np.ones(8, np.float32)}),
        ["1 unexpected: backbone.blocks.0.mlstm_layer.q.bias"],
    ),
    "tensor missing": (
        lambda f: change_weights(f, **{NAME + "q__weight": None, "lm_head__weight": None}),
        ["2 missing: backbone.blocks.0.mlstm_layer.q.weight, lm_head.weight"],
    ),
    "tensor of another rank": (
        lambda f: change_weights(f, **{NAME + "out_proj__weight": np.ones(8, np.float32)}),
        ["misshapen: ", "backbone.blocks.0.mlstm_layer.out_proj.weight [8] for [16, 24]"],
    ),
    "integers": (
        lambda f: change_weights(f, lm_head__weight=np.ones((11, 16), np.int8)),
        ["lm_head.weight as I8; allowed: F32, BF16, F16"],
    ),
}
SHARDED = {
    "shard missing": (
        lambda f: (f / "model-00002-of-00003.safetensors").unlink(),
        ["lacks model-00002-of-00003.safetensors, one of the 3 files in its index"],
    ),
    "shard truncated": (
        lambda f: cut(f / "model-00002-of-00003.safetensors", 900),
        ["model-00002-of-00003.safetensors is no whole safetensors file"],
    ),
    "no index": (lambda f: (f / "model.safetensors.index.json").unlink(), ["no model.safetensors.index.json"]),
    "bad index": (lambda f: cut(f / "model.safetensors.index.json", 50), ["index.json is no JSON"]),
    "empty index": (
        lambda f: (f / "model.safetensors.index.json").write_text("{}"),
        ["index.json has no weight_map"],
    ),
    "index out of the folder": (
        lambda f: renamed(f, "../x.safetensors"),
        ["names the file '../x.safetensors'; allowed are .safetensors beside it"],
    ),
    "index to the root": (lambda f: renamed(f, "/etc/x.safetensors"), ["names the file '/etc/x.safetensors'"]),
    "index to a pickle": (lambda f: renamed(f, "x.bin"), ["names the file 'x.bin'"]),
}


@pytest.mark.parametrize("case", [*BAD, *SHARDED])
def test_one_line_for_a_bad_folder(tmp_path, case):
    harm, words = {**BAD, **SHARDED}[case]
    folder = saved(tmp_path / "folder", max_shard_size=10**9 if case in BAD else 9_000)
    harm(folder)
    with pytest.raises(UsageError) as caught:
        huggingface.load(folder)
    message = str(caught.value)
    assert "\n" not in message and len(message) < 500
    for word in words:
        assert word in message


def test_models_that_the_format_cannot_hold(tmp_path):
    for changes, message in (
        ({"pattern": "xm"}, "model.pattern 'xm' does not fit the format"),
        ({"norm": "layer"}, "model.norm 'layer' with model.norm_eps 1e-06 does not fit"),
        ({"norm_eps": 1e-5}, "the blocks' own eps, 1e-06"),
    ):
        with pytest.raises(UsageError, match=message):
            saved(tmp_path / "folder", dataclasses.replace(CONFIG, **changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_mode": "stacked"}, "weight_mode 'stacked' is not allowed; it is one of single, fused"),
        ({"dtype": "int8"}, "dtype 'int8' is not allowed; it is one of as_is, float32, bfloat16, float16"),
        ({"max_shard_size": 0}, "max_shard_size 0"),
        ({"beside": [pathlib.Path("none.json")]}, "cannot be written"),
    ],
)
def test_options_of_saving(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        saved(tmp_path / "folder", **options)
    assert not list(tmp_path.iterdir())


def test_options_of_loading(tmp_path):
    folder = saved(tmp_path / "folder")
    with pytest.raises(UsageError, match="dtype 'float16' is not allowed; it is one of float32, bfloat16"):
        huggingface.load(folder, dtype="float16")
    with pytest.raises(UsageError, match="param_dtype 'int8' is not allowed; it is one of float32, file"):
        huggingface.load(folder, param_dtype="int8")


def test_a_taken_folder_stays_as_it_is(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("folder", "file", "file/below"):
        with pytest.raises(UsageError, match=r"not empty; give a new folder|cannot be written"):
            saved(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "mine"]


def test_gates_with_kernels_in_bfloat16_are_computed_in_float32(tmp_path):
    """Soft caps and gates see the rounded weights, and no further rounding."""
    folder = saved(tmp_path / "folder", dtype="bfloat16")
    block = huggingface.load(folder, param_dtype="file").blocks[0]
    x = np.random.default_rng(1).standard_normal((2, FEATURES)).astype(np.float32)
    kernel, bias = np.asarray(block.f.kernel[...]), np.asarray(block.f.bias[...])
    assert kernel.dtype == ml_dtypes.bfloat16
    assert error(block.f(jnp.asarray(x)), x.astype(np.float64) @ kernel.astype(np.float64) + bias) <= 1e-6
