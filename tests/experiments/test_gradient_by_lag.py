"""Gradients by lag against whole Jacobians and closed forms, and the program that measures a run."""

import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.measures.gradient_by_lag import by_lags, gradient_norms, last_scored, random_directions
from experiments.sweeping.measured import MEASURES, read_measured
from tests.tasks.examples import tiny_config
from xlstm_jax.models import ModelConfig, build_model
from xlstm_jax.train.build import build
from xlstm_jax.train.step import init_state


@pytest.mark.parametrize("pattern", ["r", pytest.param("ms", marks=pytest.mark.slow)])
def test_against_the_whole_jacobian(x64, rolled, pattern):
    """With all directions, the norm is exactly ||d y_T / d x_t||_F, for rows that end at different steps."""
    model = build_model(ModelConfig(features=8, pattern=pattern, vocab_size=5, dtype="float64"))
    x_BTD = jax.random.normal(jax.random.key(0), (2, 7, 8), jnp.float64)
    last_B = np.array([6, 3])

    def stack(x_BTD):
        for block in model.blocks:
            x_BTD, _ = block(x_BTD, None)
        return x_BTD

    jacobian = jax.jit(jax.jacrev(lambda x: stack(x)[np.arange(2), last_B]))(x_BTD)
    wanted = np.stack([np.sum(jacobian[row, :, row] ** 2, axis=(0, 2)) for row in range(2)])
    assert (
        jacobian.dtype == jnp.float64 and (wanted[0] > 0).all() and (wanted[1] > 0).tolist() == [True] * 4 + [False] * 3
    )
    all_KD = random_directions(jax.random.key(1), 8, 99)
    some_KD = jax.vmap(lambda key: random_directions(key, 8, 3))(jax.random.split(jax.random.key(2), 400)).reshape(
        -1, 8
    )
    norms = jax.jit(gradient_norms, static_argnums=0)(stack, x_BTD, last_B, jnp.concatenate([all_KD, some_KD]))
    got, some = jnp.sum(norms[:8] ** 2, axis=0), jnp.sum(norms[8:] ** 2, axis=0) / 400
    np.testing.assert_allclose(got, wanted, rtol=1e-10)
    np.testing.assert_allclose(some, wanted, rtol=0.15)  # three of eight directions, on average


@pytest.mark.parametrize("decay", [1.0, 0.5, 1e-4])
def test_a_linear_network_has_powers_of_its_matrix(decay):
    """y_t = A y_{t-1} + x_t has the derivative A^lag; A is a scaled rotation. Also if squares underflow in float32."""
    rotation, _ = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 6)))
    matrix = jnp.asarray(decay * rotation, jnp.float32)

    def stack(x_BTD):
        def step(y_BD, x_BD):
            y_BD = jnp.dot(y_BD, matrix.T, precision="highest") + x_BD
            return y_BD, y_BD

        return jnp.moveaxis(jax.lax.scan(step, jnp.zeros((2, 6)), jnp.moveaxis(x_BTD, 1, 0))[1], 0, 1)

    last_B, directions = np.array([7, 4]), random_directions(jax.random.key(0), 6, 6)
    norms = gradient_norms(stack, jnp.ones((2, 8, 6)), last_B, directions)
    got = by_lags([(np.asarray(norms, np.float64), last_B)])
    np.testing.assert_allclose(got, np.sqrt(6) * decay ** np.arange(8.0), rtol=1e-5)


def test_rows_are_aligned_by_lag():
    """Root mean square over the rows that reach a lag."""
    mask_BT = np.array([[0, 1, 1, 0], [1, 0, 0, 0], [0, 0, 0, 0]], bool)
    assert last_scored(mask_BT).tolist() == [2, 0, 3]
    norms_KBT = np.array([[[3, 0, 1, 9], [5, 9, 9, 9]], [[4, 2, 1, 9], [0, 9, 9, 9]]], float)
    other = np.array([[[7, 7, 7, 1]]], float)
    got = by_lags([(norms_KBT, np.array([2, 0])), (other, np.array([3]))])
    np.testing.assert_allclose(got**2, [(2 + 25 + 1) / 3, (4 + 49) / 2, (25 + 49) / 2, 49])


def test_a_run_before_and_after(rolled):
    """The curves are equal if nothing was learned, and differ if all parameters differ."""
    config = tiny_config("adding", None)
    config.model.pattern, config.data.batch_size = "r", 8
    run = build(config.to_dict())
    params = init_state(run).params
    for weights, same in ((params, True), (jax.tree.map(lambda leaf: leaf * 0.5, params), False)):
        before, after = MEASURES.get("gradient_by_lag")(run, weights).curves
        assert before.x == [*range(len(before.y))] and len(before.y) > 10 and min(before.y) > 0
        assert (before.y == after.y) == same


def test_program(programs, tiny_run, tmp_path):
    workdir = shutil.copytree(tiny_run, tmp_path / "run")
    shown = programs.output("measure", "--measure=gradient_by_lag", f"--workdir={workdir}")
    measured = read_measured(workdir, "gradient_by_lag")
    assert "step 40 (latest) measured; written to" in shown and measured.log == ["y"]
    assert [curve.name for curve in measured.curves] == ["before training", "after training"]
    assert all(len(curve.x) == len(curve.y) == 32 and min(curve.y) > 0 for curve in measured.curves)
    assert measured.curves[0].y != measured.curves[1].y
    assert (workdir / "measured-gradient_by_lag.png").stat().st_size > 10_000
    done = programs.run("measure", "--measure=none", f"--workdir={workdir}")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1) and "gradient_by_lag" in done.stderr
    assert done.stderr.startswith("error: unknown measure 'none'; known: ")
