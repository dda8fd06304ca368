"""Dropout inside the recurrence: what is dropped, how often, and what is left alone."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.cells import CellParams
from xlstm_jax.ops.recurrence import Noise, recurrence
from xlstm_jax.testing.compare import assert_close, dot, normal_like
from xlstm_jax.testing.examples import BATCH, examples

pytestmark = pytest.mark.usefixtures("rolled")

T = 7
RESET = np.zeros((BATCH, T), bool)
RESET[0, [2, 3]] = RESET[1, [0, 6]] = True
LENGTHS = np.array([T, 4])
PADDING = np.arange(T) >= LENGTHS[:, None]
RATE = 0.4
KINDS = ["variational", "recurrent", "zoneout"]
THINNING = KINDS[:2]
EXAMPLES = {example.name: example for example in examples()}


@functools.cache
def compiled(name, kind, implementation, reverse=False, rate=RATE):
    """(run, pull) of (key, lengths, reset, params, x, carry): (y, last); the same and gradients of the last three."""
    noise = None if kind is None else Noise(kind, rate)

    def run(key, lengths, reset, params, x, carry):
        options = {"lengths_B": lengths, "reset_BT": reset, "reverse": reverse, "implementation": implementation}
        return recurrence(EXAMPLES[name].cell, params, x, carry=carry, noise=noise, key=key, **options)

    def pull(*args):
        outputs, pullback = jax.vjp(lambda *given: run(*args[:3], *given), *args[3:])
        return outputs, pullback(normal_like(outputs, 7))

    return jax.jit(run), jax.jit(pull)


def given(name):
    """params, x and a carry as after a step, in float64."""
    example = EXAMPLES[name]
    params, x = example.params(np.float64), example.inputs(T, np.float64)
    return params, x, example.cell.step(params, example.start(np.float64), first_step(example, params, x))[0]


def first_step(example, params, x):
    return jax.tree.map(lambda leaf: leaf[:, 0], example.cell.project(params, x[:, :1]))


def sums(noise, batch, time, weight, implementation, key):
    """h_t = 1 + weight * (what is fed back of h_{t-1}), h_0 = 0, in `batch` samples of one feature: [B, T]."""
    cell = EXAMPLES["rnn-activation=relu"].cell
    weights = {"w_x": np.ones((1, 1)), "w_h": np.full((1, 1), weight), "b": np.zeros(1)}
    weights = {name: jnp.asarray(w, np.float32) for name, w in weights.items()}
    params = CellParams(cell.Config(in_features=1, features=1, activation="relu"), weights)
    x = jnp.ones((batch, time, 1), np.float32)
    run = functools.partial(recurrence, cell, params, noise=noise, implementation=implementation)
    return np.asarray(jax.jit(run)(x, key=key)[0])[..., 0]


@pytest.mark.parametrize("implementation", ["scan", "chunked"])
@pytest.mark.parametrize("kind", THINNING)
def test_masks_seen_from_outside(kind, implementation):
    """At h_t = 1 + m_t h_{t-1} / (1 - rate): m is the same or differs between steps; rows of the batch differ."""
    h_BT = sums(Noise(kind, RATE), 50, 12, 1.0, implementation, jax.random.key(0))
    mask_BT = (h_BT[:, 1:] - 1) * (1 - RATE) / h_BT[:, :-1]
    np.testing.assert_allclose(mask_BT, np.round(mask_BT), atol=1e-5)
    mask_BT = np.round(mask_BT)
    assert set(mask_BT.ravel()) == {0, 1} and set(mask_BT[:, 0]) == {0, 1}
    same = (mask_BT == mask_BT[:, :1]).all(axis=1)
    assert same.all() if kind == "variational" else not same.all()


@pytest.mark.parametrize("kind", KINDS)
def test_means(kind):
    """Means over many samples of h_t = 1 + h_{t-1} / 2, in closed form; zoneout's is the result without a key."""
    time, weight, batch = 5, 0.5, 20_000
    h_BT = sums(Noise(kind, RATE), batch, time, weight, "scan", jax.random.key(1))
    power = np.arange(time)
    if kind == "recurrent":  # masks of a step are independent of those before it
        wanted = np.cumsum(weight**power)
    elif kind == "variational":  # E (m / (1 - rate))^k = (1 - rate)^(1 - k)
        wanted = np.cumsum(weight**power * np.where(power, (1 - RATE) ** (1.0 - power), 1))
    else:
        wanted = [0.0]
        for _ in power:
            wanted.append(RATE * wanted[-1] + (1 - RATE) * (1 + weight * wanted[-1]))
        wanted = wanted[1:]
        np.testing.assert_allclose(sums(Noise(kind, RATE), 1, time, weight, "scan", None)[0], wanted, rtol=1e-6)
    error = h_BT.std(axis=0) / batch**0.5
    assert (np.abs(h_BT.mean(axis=0) - wanted) <= 5 * error + 1e-6).all()


def test_masks():
    """Shapes, rates, and one draw per leaf; no masks without a key; x64 mode draws the same."""
    lstm = EXAMPLES["lstm_fgr"]
    carry = jax.tree.map(lambda leaf: jnp.zeros((200, *leaf.shape[1:]), leaf.dtype), lstm.start(np.float32))
    key = jax.random.key(3)
    for kind in KINDS:
        noise = Noise(kind, RATE)
        assert noise.masks(None, lstm.cell, carry, T) is None
        masks = noise.masks(key, lstm.cell, carry, T)
        kept = carry if kind == "zoneout" else (carry.h, carry.g)
        assert jax.tree.map(lambda m: m.shape, masks) == jax.tree.map(lambda leaf: (T, *leaf.shape), kept)
        leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(masks)]
        assert all(abs(leaf.mean() - (1 - RATE)) < 0.05 for leaf in leaves)
        assert all((leaf == leaf[:1]).all() == (kind == "variational") for leaf in leaves)
        assert (leaves[0] != leaves[1][..., : leaves[0].shape[-1]]).any()
        with jax.enable_x64(True):
            assert_close(noise.masks(key, lstm.cell, carry, T), masks, limit=0)


@pytest.mark.parametrize(
    "name, kind, reverse",
    [("gru-reset=before", "variational", False), ("lstm_fgr", "recurrent", True), ("slstm", "recurrent", False)],
)
def test_scan_and_chunks_agree(name, kind, reverse, x64):
    """Values and gradients agree with the same key and differ with another."""
    arguments = LENGTHS, RESET, *given(name)
    key, other = jax.random.split(jax.random.key(4))
    scan, chunked = (compiled(name, kind, implementation, reverse)[1] for implementation in ("scan", "chunked"))
    wanted = scan(key, *arguments)
    assert_close(chunked(key, *arguments), wanted)
    assert_close(scan(key, *arguments), wanted, limit=0)
    assert np.max(np.abs(scan(other, *arguments)[0][0] - wanted[0][0])) > 1e-2


@pytest.mark.parametrize("name, kind", [("lstm", "variational"), ("gru", "recurrent"), ("lstm", "zoneout")])
def test_gradients_equal_finite_differences(name, kind, x64):
    """With a fixed key and the default implementation."""
    run, pull = compiled(name, kind, None)
    moved, fixed, step = list(given(name)), (jax.random.key(5), LENGTHS, RESET), 1e-6
    outputs, gradients = pull(*fixed, *moved)
    cotangents = normal_like(outputs, 7)
    for which, gradient in enumerate(gradients):
        direction = normal_like(moved[which], 8)

        def loss(size, which=which, direction=direction):
            there = list(moved)
            there[which] = jax.tree.map(lambda a, b: a + size * b, moved[which], direction)
            return dot(run(*fixed, *there), cotangents)

        assert dot(gradient, direction) == pytest.approx((loss(step) - loss(-step)) / (2 * step), rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name, implementation", [("lstm", "chunked"), ("gru", "scan")])
@pytest.mark.parametrize("kind", THINNING)
def test_without_a_key_nothing_is_dropped(name, implementation, kind, x64):
    arguments = None, LENGTHS, RESET, *given(name)
    got, wanted = (compiled(name, k, implementation)[0](*arguments) for k in (kind, None))
    assert_close(got, wanted, limit=1e-15)


@pytest.mark.parametrize("name", ["lstm", "mingru"])
def test_zoneout_without_a_key_takes_the_mean(name, x64):
    """The mean of each step's old and new carry, against a Python loop; the output is the mean h."""
    (params, x, carry), cell = given(name), EXAMPLES[name].cell
    y, last = compiled(name, "zoneout", None)[0](None, np.full(BATCH, T), np.zeros_like(RESET), params, x, carry)
    for t in range(T):
        after, _ = cell.step(params, carry, first_step(EXAMPLES[name], params, x[:, t:]))
        carry = jax.tree.map(lambda old, new: RATE * old + (1 - RATE) * new, carry, after)
        assert_close(y[:, t], carry.h)
    assert_close(last, carry)


def test_zoneout_of_nearly_everything_keeps_the_carry(x64):
    """In every leaf; the start value after a reset is kept likewise."""
    params, x, carry = given("lstm")
    run = compiled("lstm", "zoneout", None, rate=1 - 1e-7)[0]
    y, last = run(jax.random.key(6), np.full(BATCH, T), np.zeros_like(RESET), params, x, carry)
    assert_close(last, carry, limit=0)
    assert_close(y, jnp.tile(carry.h[:, None], (1, T, 1)), limit=0)
    _, last = run(jax.random.key(6), np.full(BATCH, T), RESET, params, x, carry)
    assert not any(np.asarray(leaf).any() for leaf in last)


@pytest.mark.parametrize(
    "kind, implementation", [("variational", "chunked"), ("recurrent", "scan"), ("zoneout", "scan")]
)
def test_padding_and_resets_hold(kind, implementation, x64):
    """Padding outputs zero and keeps the carry, and nothing crosses a reset; all with the same masks."""
    (params, x, carry), key = given("lstm"), jax.random.key(7)
    run, _ = compiled("lstm", kind, implementation)
    none = np.zeros_like(RESET)
    y, last = run(key, LENGTHS, none, params, x, carry)
    assert not np.asarray(y)[PADDING].any()
    garbage = jnp.where(PADDING[..., None], 1e3, x)
    assert_close(run(key, LENGTHS, none, params, garbage, carry), (y, last), limit=0)
    full, _ = run(key, np.full(BATCH, T), none, params, x, carry)
    assert_close(y, jnp.where(PADDING[..., None], 0.0, full), limit=0)
    assert_close(last.h, full[np.arange(BATCH), LENGTHS - 1], limit=0)

    reset, at = none.copy(), 3
    reset[:, at] = True
    y, last = run(key, LENGTHS, reset, params, x, carry)
    other = jax.tree.map(lambda leaf: leaf + 1, carry)
    changed, same = run(key, LENGTHS, reset, params, x.at[:, :at].add(1), other)
    assert_close((changed[:, at:], same), (y[:, at:], last), limit=0)
    assert np.max(np.abs(changed[:, :at] - y[:, :at])) > 1e-2


@pytest.mark.parametrize("implementation", ["scan", "chunked"])
@pytest.mark.parametrize("name", ["gru", "gru-reset=before", "mgu"])
def test_memory_is_not_dropped(name, implementation, x64):
    """A gate that keeps all of h does so however much of the feedback is dropped: z = 1, or f = 0."""
    params, x, carry = given(name)
    features = carry.h.shape[-1]
    gate = slice(0, features) if name == "mgu" else slice(features, 2 * features)
    b = params["b"].at[gate].set(-1e3 if name == "mgu" else 1e3)
    params = CellParams(params.config, {**params, "b": b})
    run, _ = compiled(name, "recurrent", implementation, rate=0.9)
    y, last = run(jax.random.key(8), np.full(BATCH, T), np.zeros_like(RESET), params, x, carry)
    assert_close((y, last.h), (jnp.tile(carry.h[:, None], (1, T, 1)), carry.h))
