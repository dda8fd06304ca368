"""Newton's method over time against the scan: values, gradients, report, and cost."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.cells import CELLS, CellParams
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence import NewtonOptions, newton_recurrence, recurrence
from xlstm_jax.testing.compare import assert_close, normal_like
from xlstm_jax.testing.examples import BATCH, examples

pytestmark = pytest.mark.usefixtures("rolled")

EXAMPLES = {example.name: example for example in examples()}
NAMES = ["rnn", "gru", "gru-reset=before", "lstm", "lstm_peephole", "lstm_ln", "mgu", "lstm_projected"]
TOLERANCE = 1e-9
LOGGER = "xlstm_jax.ops.recurrence.newton"


@functools.cache
def compiled(name, options: NewtonOptions | None, reverse=False):
    """pull(masks, params, x, carry, start): y, last carry and all gradients of both, and a report; None scans."""
    cell = EXAMPLES[name].cell

    @jax.jit
    def pull(masks, *given):
        def run(params, x, carry, start):
            arguments = {"carry": carry, "start": start, "reverse": reverse, "lengths_B": masks[0]}
            arguments["reset_BT"] = masks[1]
            if options is None:
                return recurrence(cell, params, x, implementation="scan", **arguments), None
            *outputs, report = newton_recurrence(cell, params, x, options=options, **arguments)
            return tuple(outputs), report

        outputs, pullback, report = jax.vjp(run, *given, has_aux=True)
        return (outputs, pullback(normal_like(outputs, 7))), report

    return pull


@functools.cache
def values(name, options: NewtonOptions | None):
    """run(params, x, carry): y and a report; None scans."""
    cell = EXAMPLES[name].cell
    if options is None:
        return jax.jit(lambda params, x, carry: recurrence(cell, params, x, carry=carry, implementation="scan"))

    def run(params, x, carry):
        y, _, report = newton_recurrence(cell, params, x, carry=carry, options=options)
        return y, report

    return jax.jit(run)


def given(name, time):
    """Lengths and resets; params, x, a carry and a start value."""
    example = EXAMPLES[name]
    reset = np.zeros((BATCH, time), bool)
    reset[0, time // 2 : time // 2 + 2] = True
    carry, start = (jax.tree.map(lambda a: 0.5 * a, normal_like(example.start(np.float64), n)) for n in (2, 3))
    return (
        (np.array([time, time // 2]), reset),
        example.params(np.float64),
        example.inputs(time, np.float64),
        carry,
        start,
    )


@pytest.mark.parametrize(
    ("name", "jacobian", "reverse"),
    [
        *(
            pytest.param(name, "full", False, marks=[pytest.mark.slow] * (name not in ("rnn", "lstm", "gru")))
            for name in NAMES
        ),
        ("gru", "diagonal", True),
        ("lstm_ln", "diagonal", True),
        pytest.param("lstm_projected", "diagonal", True, marks=pytest.mark.slow),
    ],
)
def test_equal_to_the_scan(name, jacobian, reverse, x64):
    """Values and gradients, up to the tolerance, with resets, lengths, a carry and a learned start."""
    arguments = given(name, 25)
    got, report = compiled(name, NewtonOptions(TOLERANCE, jacobian=jacobian), reverse)(*arguments)
    assert report.converged and report.change <= TOLERANCE
    assert_close(got, compiled(name, None, reverse)(*arguments)[0], limit=100 * TOLERANCE)


@pytest.mark.parametrize("name, time", [("gru", 1), ("gru", 2), ("lstm", 257)])
def test_any_length(name, time, x64):
    """One step, two steps, and more than a power of two."""
    arguments = given(name, time)
    got, report = compiled(name, NewtonOptions(TOLERANCE))(*arguments)
    assert report.converged and report.iterations <= time
    assert_close(got, compiled(name, None)(*arguments)[0], limit=100 * TOLERANCE)


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
def test_a_linear_cell_takes_one_iteration(jacobian, x64):
    """It takes one more to see that nothing changes."""
    _, report = compiled("mingru", NewtonOptions(TOLERANCE, jacobian=jacobian))(*given("mingru", 30))
    assert report.converged and 1 <= report.iterations <= 2


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
def test_each_iteration_makes_a_step_exact(jacobian, x64, caplog):
    """After k iterations the first k states are the scan's; non-convergence is reported and logged."""
    _, params, x, carry, _ = given("lstm", 20)
    arguments = expansive(params), x, carry
    wanted, _ = values("lstm", None)(*arguments)
    for k in (1, 3):
        caplog.clear()
        y, report = values("lstm", NewtonOptions(TOLERANCE, k, jacobian))(*arguments)
        jax.effects_barrier()
        assert not report.converged and report.iterations == k and report.change > TOLERANCE
        assert_close(y[:, :k], wanted[:, :k])
        assert np.max(np.abs(y - wanted)) > 1e-3
        messages = [record.message for record in caplog.records if record.name == LOGGER]
        assert messages and f"the last of {k} iterations" in messages[0] and "max_iterations" in messages[0]


def expansive(params, factor=4):
    """The weights with the recurrent ones scaled up, so that small differences grow from step to step."""
    return CellParams(params.config, {**params, "w_h": factor * params["w_h"]})


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
@pytest.mark.parametrize("name", ["rnn", "rnn-activation=relu", "gru", "lstm"])
def test_expansive_weights(name, jacobian, x64):
    """T iterations end at the scan's values, however the iteration went in between."""
    _, params, x, carry, _ = given(name, 16)
    arguments = expansive(params), x, carry
    got, _ = values(name, NewtonOptions(TOLERANCE, 16, jacobian))(*arguments)
    assert_close(got, values(name, None)(*arguments)[0], limit=1e-6)


@pytest.mark.parametrize("jacobian", ["full", "diagonal"])
def test_guesses_that_explode(jacobian, caplog):
    """A recurrence at rest for which the Jacobian's diagonal grows by 8 per step, beyond float32."""
    cell, time = EXAMPLES["rnn"].cell, 150
    w_h = jnp.array([[8, 4], [-16, -8]], np.float32)  # its square is zero
    params = cell.init(jax.random.key(0), cell.Config(in_features=2, features=2))
    params = CellParams(params.config, {**params, "w_h": w_h, "w_x": jnp.eye(2, dtype=np.float32)})
    x = 1e-3 * jax.random.normal(jax.random.key(1), (1, time, 2), np.float32)

    def loss(run):
        def sum_of_squares(params, x):
            y, _, *report = run(cell, params, x)
            return jnp.sum(y * y), (y, report)

        return jax.jit(jax.grad(sum_of_squares, argnums=(0, 1), has_aux=True))(params, x)

    got, (y, (report,)) = loss(functools.partial(newton_recurrence, options=NewtonOptions(jacobian=jacobian)))
    wanted, (y_scan, _) = loss(functools.partial(recurrence, implementation="scan"))
    assert_close((y, got), (y_scan, wanted), limit=1e-4)
    # After T iterations all steps are exact, however large the last change.
    jax.effects_barrier()
    assert report.converged and not [record for record in caplog.records if record.name == LOGGER]


@pytest.mark.parametrize("jacobian, iterations", [("full", 12), ("diagonal", 48)])
@pytest.mark.parametrize("name", [pytest.param("lstm", marks=pytest.mark.slow), "gru"])
def test_few_iterations_for_many_steps(name, jacobian, iterations, record_property):
    """At 1,024 steps, 32 features and initial weights: 5 iterations, with the diagonal 26 (lstm), 14 (gru)."""
    cell, time = CELLS.get(name), 1024
    params = cell.init(jax.random.key(0), cell.Config(in_features=8, features=32))
    x = jax.random.normal(jax.random.key(1), (1, time, 8), np.float32)
    run = functools.partial(newton_recurrence, cell, options=NewtonOptions(jacobian=jacobian))
    y, _, report = jax.jit(run)(params, x)
    wanted, _ = jax.jit(functools.partial(recurrence, cell, implementation="scan"))(params, x)
    record_property("iterations", int(report.iterations))
    assert report.converged and report.iterations <= iterations < time / 8
    assert_close(y, wanted, limit=1e-4)


def test_the_jacobian_is_full_up_to_a_width():
    """None is "full" up to 64 features; "full" raises for wider carries, however it is requested."""
    assert NewtonOptions(tolerance=0.0).choice(64) == "full" and NewtonOptions().choice(65) == "diagonal"
    cell = EXAMPLES["gru"].cell
    params = cell.init(jax.random.key(0), cell.Config(in_features=2, features=65))
    x = jnp.zeros((1, 3, 2), np.float32)
    with pytest.raises(UsageError, match="at most 64 features, got 65; use 'diagonal'"):
        newton_recurrence(cell, params, x, options=NewtonOptions(jacobian="full"))


def test_vmap(x64, caplog):
    """Over weights and inputs, values and gradients, as for an ensemble; no warning for members that converged."""
    cell, time = EXAMPLES["gru"].cell, 12

    def loss(params, x):
        y, _, report = newton_recurrence(cell, params, x, options=NewtonOptions(TOLERANCE, jacobian="diagonal"))
        return jnp.sum(jnp.sin(y)), report

    members = [(EXAMPLES["gru"].params(np.float64, n), EXAMPLES["gru"].inputs(time, np.float64, n)) for n in (1, 5)]
    gradient = jax.grad(loss, argnums=(0, 1), has_aux=True)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)
    got, report = jax.jit(jax.vmap(gradient))(*stacked)
    one = jax.jit(gradient)
    wanted = jax.tree.map(lambda *leaves: jnp.stack(leaves), *[one(*member)[0] for member in members])
    assert_close(got, wanted, limit=100 * TOLERANCE)
    assert report.converged.all()
    jax.effects_barrier()
    assert not [record for record in caplog.records if record.name == LOGGER]


def test_by_name_it_is_the_same():
    """`recurrence(implementation="newton")` runs it with default options."""
    cell = EXAMPLES["gru"].cell
    params, x = EXAMPLES["gru"].params(np.float32), EXAMPLES["gru"].inputs(9, np.float32)
    got = jax.jit(functools.partial(recurrence, cell, implementation="newton"))(params, x)
    assert_close(got, jax.jit(functools.partial(newton_recurrence, cell))(params, x)[:2], limit=1e-6)
