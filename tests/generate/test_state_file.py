"""A saved state continues where it stopped. A file that does not fit the model is refused with one line."""

import io

import jax
import numpy as np
import pytest

from tests.models.examples import example, small
from tests.untrusted import hostile_array, hostile_pickle
from xlstm_jax.errors import UsageError
from xlstm_jax.generate import decode, load_state, prefill, save_state

pytestmark = pytest.mark.usefixtures("rolled")

PROMPT = np.array([[3, 1, 4], [1, 5, 9]], np.int32)
OPTIONS = {"top_k": 9, "room": 20, "stop": (2,)}


CONFIGS = {pattern: small(pattern) for pattern in ("ms", "x", "r")} | {"bfloat16": small("ms", dtype="bfloat16")}


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("config", CONFIGS)
@jax.numpy_dtype_promotion("standard")  # flax's norms need it for bfloat16
def test_a_text_goes_on_exactly(tmp_path, config, temperature):
    model = example(CONFIGS[config]).model()
    start = prefill(model, PROMPT, seed=3, prefill_chunk=4)
    options = OPTIONS | {"temperature": temperature}
    whole = decode(model, start, length=20, **options)
    first = decode(model, start, length=8, **options)
    save_state(tmp_path / "state", first.state, texts=PROMPT)
    state, texts = load_state(tmp_path / "state", model)
    for a, b in zip(jax.tree.leaves(state), jax.tree.leaves(first.state), strict=True):
        assert a.dtype == b.dtype and (a == b).all()
    second = decode(model, state, length=12, **options)
    np.testing.assert_array_equal(whole.tokens_BT, np.concatenate([first.tokens_BT, second.tokens_BT], axis=1))
    np.testing.assert_array_equal(whole.lengths_B, np.asarray(first.lengths_B) + np.asarray(second.lengths_B))
    np.testing.assert_array_equal(texts, PROMPT)


@pytest.fixture
def saved(tmp_path):
    model = example(small("ms")).model()
    save_state(tmp_path / "state", prefill(model, PROMPT, prefill_chunk=4))
    return tmp_path / "state"


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (small("m"), r"carry/1/conv is \(2, 3, 16\), but this model needs nothing"),
        (small("msm"), r"carry/2/conv is nothing, but this model needs \(2, 3, 32\)"),
        (small("ms", vocab_size=12), r"logits_BA is \(2, 11\), but this model needs \(2, 12\)"),
    ],
    ids=["fewer blocks", "more blocks", "vocabulary"],
)
def test_another_model(saved, other, message):
    with pytest.raises(UsageError, match="is from another model: its " + message + "; use the run"):
        load_state(saved, example(other).model())


@pytest.mark.parametrize(
    "content", [b"", b"text", b"PK\x03\x04 cut off", "half", "foreign"], ids=["empty", "text", "zip", "half", "foreign"]
)
def test_a_damaged_file(saved, content):
    if content == "half":
        saved.write_bytes(saved.read_bytes()[: saved.stat().st_size // 2])
    elif content == "foreign":
        with saved.open("wb") as file:
            np.savez(file, a=np.ones(3))
    else:
        saved.write_bytes(content)
    with pytest.raises(UsageError, match=r"state '.*state' cannot be read \(.*\); save it again"):
        load_state(saved, example(small("ms")).model())


@pytest.mark.parametrize("name", ["logits_BA", "key", "format", "text/0"])
def test_a_pickle_in_it_is_not_read(saved, tmp_path, name):
    """Inside an entry, or as the whole file."""
    with np.load(saved) as entries:
        arrays = dict(entries) | {name: hostile_array(tmp_path / "trace")}
    with saved.open("wb") as file:
        np.savez(file, **arrays)
    for content in (saved.read_bytes(), hostile_pickle(tmp_path / "trace")):
        saved.write_bytes(content)
        with pytest.raises(UsageError, match=r"state '.*state' cannot be read \(.*\); save it again") as caught:
            load_state(saved, example(small("ms")).model())
        assert "\n" not in str(caught.value) and not (tmp_path / "trace").exists()


def test_no_file_and_no_place(saved, tmp_path):
    model = example(small("ms")).model()
    with pytest.raises(UsageError, match=r"no state file '.*none'; --save_state=FILE writes one"):
        load_state(tmp_path / "none", model)
    with pytest.raises(UsageError, match=r"cannot write state '.*none/state'"):
        save_state(tmp_path / "none" / "state", load_state(saved, model)[0])
    assert [path.name for path in tmp_path.iterdir()] == ["state"]


def harmed(data: bytes):
    """Yields (what is wrong, bytes) of files with one changed field of the archive, or with content never written."""
    entry = data.index(b"PK\x01\x02")  # the first entry of the archive's directory
    for what, offset, value in (
        ("a version of zip that nobody has", 6, b"\xff\xff"),
        ("encryption", 8, b"\x01\x00"),
        ("an unknown compression", 10, b"\x61\x00"),
        ("another size", 24, b"\xff\xff\xff\x7f"),
        ("another place", 42, b"\xff\xff\xff\x7f"),
    ):
        yield what, data[: entry + offset] + value + data[entry + offset + len(value) :]
    with np.load(io.BytesIO(data)) as entries:
        arrays = dict(entries)
    for what, changes in (
        ("compression", {}),
        ("more rows than memory", {"logits_BA": np.zeros((10**12, 0), np.float32)}),
        ("no rows", {"logits_BA": np.zeros(3, np.float32)}),
        ("words for numbers", {"logits_BA": arrays["logits_BA"].astype(str)}),
        ("dates for numbers", {"step": np.zeros((), "M8[s]")}),
        ("complex numbers", {"logits_BA": arrays["logits_BA"].astype(np.complex64)}),
        ("records", {"done_B": np.zeros(2, [("a", bool)])}),
        ("a key of words", {"key": np.array(["a", "b"])}),
        ("a key of an unknown kind", {"key_impl": np.array("dice")}),
        ("texts of real numbers", {"text/0": np.zeros(3, np.float32)}),
        ("tokens beyond the vocabulary", {"text/1": np.array([3, 99], np.int32)}),
        ("tokens under 0", {"text/1": np.array([-1], np.int32)}),
        ("a text too many", {"text/2": np.zeros(3, np.int32)}),
        ("a name of two lines", {"a\nb": np.zeros(3, np.int32)}),
    ):
        file = io.BytesIO()
        (np.savez_compressed if what == "compression" else np.savez)(file, **(arrays | changes))
        yield what, file.getvalue()


def test_one_line_whatever_the_harm(saved):
    model = example(small("ms")).model()
    for what, data in harmed(saved.read_bytes()):
        saved.write_bytes(data)
        with pytest.raises(UsageError, match=r"^state '.*state' (cannot be read|is from another model)") as caught:
            load_state(saved, model)
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 500, what
