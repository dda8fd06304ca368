"""A state to save, and ways to hurt what was saved."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.untrusted import hostile_pickle
from xlstm_jax.cells.slstm import empty_state
from xlstm_jax.train.workdir.checkpoint import Checkpoints


def failed_reads(test):
    """Decorator: orbax leaves coroutines behind where a read or a write fails, each of which complains when it is
    collected."""
    test = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")(test)
    return pytest.mark.usefixtures("collected")(test)


CODEC, DATA = {"kind": "char", "characters": "\n abé"}, {"iterator": {"next_index": 7}, "fingerprint": "0a"}


class State(NamedTuple):
    step: jax.Array
    params: Any
    carry: Any


def state(seed: int = 0) -> State:
    """Leaves of several dtypes, NamedTuples, a None, infinities: what a training state may hold."""
    rng = np.random.default_rng(seed)
    kernel = jnp.asarray(rng.standard_normal((64, 64)), jnp.float32)
    params = {"kernel": kernel, "blocks": {0: {"b": jnp.asarray(rng.standard_normal(5), jnp.float32)}}}
    carry = (empty_state((2, 3)), jnp.asarray(rng.standard_normal((2, 3)), jnp.bfloat16), None)
    return State(jnp.asarray(seed, jnp.int32), params, carry)


def save(checkpoints: Checkpoints, step: int, loss: float | None = None) -> None:
    checkpoints.save(step, state(step), DATA, CODEC, loss)
    checkpoints.wait()


def assert_same(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))


def largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path):
    path.write_bytes(b"\x00garbage")


def pickled(path):
    path.write_bytes(hostile_pickle(path.with_name("trace")))


def flip(path):
    """One bit of one byte."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
