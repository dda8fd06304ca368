"""Exported programs equal the model, for any batch size and prompts of different lengths."""

import jax
import numpy as np
import pytest

from tests.models.examples import VOCABULARY, error, example, small
from xlstm_jax.errors import UsageError
from xlstm_jax.generate.export import export_programs
from xlstm_jax.models import BLOCKS

pytestmark = pytest.mark.usefixtures("rolled")
CHUNK = 4


ALL = pytest.param(",".join(BLOCKS.names()), None, marks=pytest.mark.slow)


@pytest.mark.parametrize("pattern, batch", [ALL, ("ms", None), ("x", 2)])
def test_programs_are_the_model(pattern, batch):
    """Two prompts of 3 and 7 tokens in pieces of 4, then one token each: the logits equal those of `unroll`."""
    pytest.importorskip("flatbuffers", reason="flatbuffers is not installed (pip install -e '.[export]')")
    made = example(small(pattern))
    programs, weights, about = export_programs(made.model(), platforms=["cpu"], prefill_chunk=CHUNK, batch=batch)
    start, prefill, step = (
        jax.export.deserialize(bytearray(programs[name])).call for name in ("start", "prefill", "step")
    )
    tokens = np.random.default_rng(0).integers(0, VOCABULARY, (2, 8), np.int32)
    lengths = np.array([3, 7], np.int32)
    carry, logits = start(weights, lengths), np.zeros((2, VOCABULARY), np.float32)
    assert [[2 if n == "b" else n for n in leaf["shape"]] for leaf in about["carry"]] == [list(c.shape) for c in carry]
    for first in (0, CHUNK):
        here = np.clip(lengths - first, 0, CHUNK).astype(np.int32)
        logits, carry = prefill(weights, tokens[:, first : first + CHUNK], here, carry, logits)
    following = np.array([5, 9], np.int32)
    after, _ = step(weights, following, carry)
    for row, length in enumerate(lengths):
        whole = np.append(tokens[row, :length], following[row])[None]
        wanted, _ = made.unroll(made.params, whole)
        assert error(logits[row], wanted[0, -2]) < 1e-5 * len(pattern)
        assert error(after[row], wanted[0, -1]) < 1e-5 * len(pattern)


def test_without_flatbuffers(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match="need the package flatbuffers; pip install flatbuffers"):
        export_programs(example(small("r")).model(), platforms=["cpu"], prefill_chunk=CHUNK)
