"""Everything that can be wrong with a folder, and models that cannot be written: one line each."""

import json
import math
import pathlib
import shutil

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from tests.models.examples import changed
from tests.models.huggingface_folders import CONFIG, change_config, change_weights, saved
from xlstm_jax.errors import UsageError
from xlstm_jax.models import huggingface
from xlstm_jax.models.huggingface import checkpoint, files


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
# (change of the folder, words of the message)
BAD = {
    "no folder": (shutil.rmtree, ["config.json does not exist; give the folder of a Hugging Face checkpoint"]),
    "no config": (lambda f: (f / "config.json").unlink(), ["config.json does not exist"]),
    "bad config": (lambda f: cut(f / "config.json", 20), ["config.json is not JSON", "fetch it again"]),
    "config no object": (lambda f: (f / "config.json").write_text("[1]"), ["config.json is not a JSON object"]),
    "config not UTF-8": (lambda f: (f / "config.json").write_bytes(b"\xff"), ["config.json is not JSON"]),
    "other model": (lambda f: change_config(f, model_type="llama"), ["model_type 'llama'; only 'xlstm'"]),
    "biases": (lambda f: change_config(f, use_bias=True), ["has use_bias", "other than the gates' cannot be"]),
    "no size": (lambda f: change_config(f, num_heads=...), ["config.json has no num_heads"]),
    "no width": (
        lambda f: change_config(f, hidden_size=..., embedding_dim=...),
        ["config.json has no hidden_size or embedding_dim"],
    ),
    "size no number": (lambda f: change_config(f, num_heads="4"), ["num_heads '4'; must be a whole number over 0"]),
    "size a fraction": (lambda f: change_config(f, vocab_size=1.5), ["vocab_size 1.5; must be a whole number"]),
    "negative eps": (lambda f: change_config(f, eps=-1.0), ["eps -1.0; must be a number over 0"]),
    "heads": (lambda f: change_config(f, num_heads=3), ["heads 3"]),
    "no weights": (lambda f: (f / "model.safetensors").unlink(), ["has no model.safetensors and no model.safete"]),
    "pickle": (pickled, ["pytorch_model.bin is a pickle, which is never read"]),
    "truncated": (lambda f: cut(f / "model.safetensors", 3000), ["not a complete safetensors file", "fetch it again"]),
    "empty file": (lambda f: cut(f / "model.safetensors", 0), ["not a complete safetensors file"]),
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
    "a tensor under its old name too": (
        lambda f: change_weights(f, embedding__weight=np.ones((11, 16), np.float32)),
        ["has backbone.embeddings.weight and embedding.weight more than once (model.safetensors)"],
    ),
    "a name of two lines": (
        lambda f: change_weights(f, **{"a\nb" + 90 * "c": np.ones(1, np.float32)}),
        ["1 unexpected: 'a\\nbccc", "ccc..."],
    ),
    "eps beyond float32": (
        lambda f: change_config(f, norm_eps=1e300),
        ["config.json does not describe a model with these tensors: model.xlstm.norm_eps 1e+300 is not allowed"],
    ),
    "eps no float": (lambda f: change_config(f, eps=10**400), ["has eps 1000", "...; must be a number over 0"]),
    "eps that is none": (lambda f: change_config(f, eps=math.nan), ["has eps nan; must be a number over 0"]),
    "heads of no width": (lambda f: change_config(f, num_heads=16), ["config.json does not describe", "num_heads 16"]),
    "a huge config": (lambda f: (f / "config.json").write_bytes(b" " * 100_000_001), ["more than 100,000,000 b"]),
    "integers": (
        lambda f: change_weights(f, lm_head__weight=np.ones((11, 16), np.int8)),
        ["lm_head.weight as I8; must be one of F32, BF16, F16"],
    ),
}
SHARDED = {
    "shard missing": (
        lambda f: (f / "model-00002-of-00003.safetensors").unlink(),
        ["lacks model-00002-of-00003.safetensors, one of the 3 files in its index"],
    ),
    "shard truncated": (
        lambda f: cut(f / "model-00002-of-00003.safetensors", 900),
        ["model-00002-of-00003.safetensors is not a complete safetensors file"],
    ),
    "no index": (lambda f: (f / "model.safetensors.index.json").unlink(), ["no model.safetensors.index.json"]),
    "bad index": (lambda f: cut(f / "model.safetensors.index.json", 50), ["index.json is not JSON"]),
    "empty index": (
        lambda f: (f / "model.safetensors.index.json").write_text("{}"),
        ["index.json has no weight_map"],
    ),
    "index out of the folder": (
        lambda f: renamed(f, "../x.safetensors"),
        ["names the file '../x.safetensors'; must be a .safetensors file next to it"],
    ),
    "index to the root": (lambda f: renamed(f, "/etc/x.safetensors"), ["names the file '/etc/x.safetensors'"]),
    "index of two lines": (lambda f: renamed(f, "x\ny.safetensors"), ["names the file 'x\\ny.safetensors'"]),
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


def test_sizes_are_bounded_by_the_files(tmp_path, monkeypatch):
    """A config.json of a large model with the tensors of a small one is refused before anything is built."""
    monkeypatch.setattr(checkpoint, "build_model", None)
    folder = saved(tmp_path / "folder")
    config = (folder / "config.json").read_text()
    shapes = files.Weights(folder).shapes
    held = {"tensors": len(shapes), "numbers in all tensors": sum(map(math.prod, shapes.values()))}
    for name, value, what in (
        ("num_hidden_layers", 1_000_000, "tensors"),
        ("num_hidden_layers", 1e300, "tensors"),
        ("num_blocks", 10**400, "tensors"),
        ("vocab_size", 10**15, "numbers in all tensors"),
        ("hidden_size", 10**15, "numbers in all tensors"),
        ("num_heads", 2**31, "numbers in all tensors"),
        ("ffn_round_up_to_multiple_of", 10**400, "numbers in all tensors"),
    ):
        change_config(folder, **{name: value})
        with pytest.raises(UsageError, match=rf"^config\.json has {name} \S+, but the files have {held[what]} {what}"):
            huggingface.load(folder)
        (folder / "config.json").write_text(config)


def test_a_tensor_in_two_files(tmp_path):
    folder = saved(tmp_path / "folder", max_shard_size=9_000)
    one, two = (folder / f"model-0000{number}-of-00003.safetensors" for number in (1, 2))
    save_file(load_file(one) | load_file(two), two)
    with pytest.raises(UsageError, match=rf"more than once \({one.name} and {two.name}\)"):
        huggingface.load(folder)


def test_models_that_the_format_cannot_hold(tmp_path):
    for changes, message in (
        ({"pattern": "xm"}, "model.pattern 'xm' does not fit the format"),
        ({"norm": "layer"}, "model.norm 'layer' with model.norm_eps 1e-06 does not fit"),
        ({"norm_eps": 1e-5}, "the blocks' eps, 1e-06"),
    ):
        with pytest.raises(UsageError, match=message):
            saved(tmp_path / "folder", changed(CONFIG, **changes))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight_mode": "stacked"}, "weight_mode 'stacked' is unknown; allowed: 'single', 'fused'"),
        ({"dtype": "int8"}, "dtype 'int8' is unknown; allowed: 'as_is', 'float32', 'bfloat16', 'float16'"),
        ({"max_shard_size": 0}, "max_shard_size 0"),
        ({"beside": {"none/tokenizer.json": b"{}"}}, "cannot be written"),
    ],
)
def test_options_of_saving(tmp_path, options, message):
    with pytest.raises(UsageError, match=message):
        saved(tmp_path / "folder", **options)
    assert not list(tmp_path.iterdir())


def test_options_of_loading(tmp_path):
    folder = saved(tmp_path / "folder")
    with pytest.raises(UsageError, match="dtype 'float16' is unknown; allowed: 'float32', 'bfloat16'"):
        huggingface.load(folder, dtype="float16")
    with pytest.raises(UsageError, match="param_dtype 'int8' is unknown; allowed: 'float32', 'file'"):
        huggingface.load(folder, param_dtype="int8")


def test_a_taken_folder_stays_as_it_is(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for name in ("folder", "file", "file/below"):
        with pytest.raises(UsageError, match=r"not empty; give a new folder|cannot be written"):
            saved(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder", "mine"]
