"""Each program of generation is compiled once, for all options and all sources of weights and state."""

import contextlib
import logging
import re

import jax
import numpy as np
import pytest

from tests.models.examples import example, small
from xlstm_jax.generate import decode, init_state, load_state, piece_sizes, prefill, save_state

pytestmark = pytest.mark.usefixtures("rolled")
CHUNK = 8
VOCABULARY = 13  # not used by other tests, so nothing here is compiled before


@contextlib.contextmanager
def compiled():
    """A list that receives the name of each program compiled meanwhile."""
    names = []

    class Names(logging.Handler):
        def emit(self, record):
            if found := re.match(r"Compiling (?:jit\()?(\w+)\)? with global shapes", record.getMessage()):
                names.append(found[1])

    logger, handler = logging.getLogger("jax._src.interpreters.pxla"), Names()
    logger.addHandler(handler)
    shown = logger.propagate
    logger.propagate = False
    try:
        with jax.log_compiles():
            yield names
    finally:
        logger.propagate = shown
        logger.removeHandler(handler)


def prompt(time, rows=2):
    return np.random.default_rng(time).integers(0, VOCABULARY, (rows, time), np.int32)


def made(features: int, *, committed: bool = False):
    """A model with its own programs. "Committed" means as from a checkpoint, each array on a mesh of one device."""
    example_ = example(small("r", vocab_size=VOCABULARY, features=features))
    if not committed:
        return example_.model()
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,), devices=jax.devices()[:1])
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    return example_.model(jax.tree.map(lambda leaf: jax.device_put(leaf, place), example_.params))


@pytest.mark.parametrize("committed", [False, True])
def test_one_compilation_a_program(tmp_path, committed):
    """Two programs, for a piece and for the loop, serve a text in parts, a saved state, and all temperatures."""
    model = made(8 + committed, committed=committed)
    with compiled() as names:
        state = prefill(model, prompt(CHUNK), prefill_chunk=CHUNK)
        for temperature, top_k, top_p in ((0.0, 0, 1.0), (0.5, 0, 1.0), (1.3, 4, 1.0), (2.0, 0, 0.7), (0.9, 99, 0.2)):
            options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "room": 8}
            state = decode(model, state, length=8, **options).state
        state = prefill(model, prompt(CHUNK), state=state, prefill_chunk=CHUNK)
        state = decode(model, state, length=3, room=8).state
    programs = [name for name in names if name in ("_read", "_loop")]
    assert sorted(programs) == ["_loop", "_read"], names
    save_state(tmp_path / "state", state)
    again, _ = load_state(tmp_path / "state", model)
    with compiled() as names:
        decode(model, prefill(model, prompt(CHUNK), state=again, prefill_chunk=CHUNK), length=8)
        decode(model, init_state(model, 2), length=5, room=8)
    assert not {"_read", "_loop"} & set(names), names


def test_stop_tokens_share_a_program():
    """One program per power of two of their number. The tokens and the padding do not matter."""
    model = made(10)
    state = prefill(model, prompt(CHUNK), prefill_chunk=CHUNK)
    decode(model, state, length=8, stop=(1, 2, 3))
    with compiled() as names:
        for stop, padding in (((4, 5, 6), 0), ((7, 8, 9, 10), 3)):
            decode(model, state, length=8, stop=stop, padding=padding)
    assert names == []


def test_forty_lengths_of_prompts_are_few_programs():
    """One program for each power of two up to a piece; `piece_sizes` names prompts that compile them all."""
    model = made(10)
    state = init_state(model, 2)
    for time in range(1, 41):
        sizes = piece_sizes(time, CHUNK)
        assert len(sizes) <= 2 and all(size <= CHUNK for size in sizes)
    with compiled() as names:
        for power in (1, 2, 4, 8):
            prefill(model, prompt(power), state=state, prefill_chunk=CHUNK)
    assert names.count("_read") <= 4
    with compiled() as names:
        for time in range(1, 41):
            prefill(model, prompt(time), state=state, prefill_chunk=CHUNK)
    assert set(names) <= {"stage"}  # JAX's own program, which moves a NumPy array to the device
