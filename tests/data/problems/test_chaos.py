"""Chaotic series against another integrator, and what is known of the systems."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from xlstm_jax.data.problems import chaos
from xlstm_jax.data.problems.chaos import SYSTEMS, FreeRuns, lorenz, lorenz_slope, mackey_glass, trajectories


def by_steps(history: float, delay: int, samples: int) -> np.ndarray:
    """Mackey-Glass by the method of steps: within one delay it is an ordinary equation, for which scipy has DOP853."""
    past, found, state = (lambda t: history), [history], history
    for start in range(0, samples, delay):

        def slope(t, x, past=past):
            delayed = past(t - delay)
            return 0.2 * delayed / (1 + delayed**10) - 0.1 * x

        times = np.arange(start + 1, start + delay + 1)
        options = {"method": "DOP853", "rtol": 1e-11, "atol": 1e-12, "dense_output": True, "t_eval": times}
        done = solve_ivp(slope, (start, start + delay), [state], **options)
        past, state = (lambda t, of=done.sol: of(t)[0]), done.y[0, -1]
        found += done.y[0].tolist()
    return np.array(found[:samples])


@pytest.mark.parametrize("delay", [17, 30])
def test_mackey_glass_against_another_integrator(delay):
    ours_NS = mackey_glass(np.array([0.6, 1.2]), delay, 200)
    for history, ours_S in zip((0.6, 1.2), ours_NS, strict=True):
        np.testing.assert_allclose(ours_S, by_steps(history, delay, 200), rtol=0, atol=1e-6)


def test_both_integrators_have_order_four():
    """Half the step, a sixteenth of the error."""
    history_N, state_31 = np.array([0.6, 1.2]), np.array([[1.0], [2.0], [20.0]])
    for run in (
        lambda substeps: mackey_glass(history_N, 17, 100, substeps),
        lambda substeps: lorenz(state_31, 20, substeps),
    ):
        exact = run(64)
        errors = [np.abs(run(substeps) - exact).max() for substeps in (4, 8)]
        assert errors[0] / errors[1] == pytest.approx(16, rel=0.25)


def test_lorenz_against_another_integrator():
    start_3 = np.array([1.0, 2.0, 20.0])
    times = np.arange(100) * 0.02
    wanted = solve_ivp(
        lambda t, state: lorenz_slope(state), (0, 2), start_3, method="DOP853", rtol=1e-12, atol=1e-12, t_eval=times
    )
    np.testing.assert_allclose(lorenz(start_3[:, None], 100)[0], wanted.y.T, rtol=0, atol=1e-4)


def test_fixed_points():
    """x = 1 of Mackey-Glass; the two within the wings of Lorenz; and its flow shrinks volumes by 10 + 1 + 8/3."""
    np.testing.assert_allclose(mackey_glass(np.ones(1), 17, 50), 1, rtol=1e-12)
    root = np.sqrt(8 / 3 * 27)
    points_3N = np.array([[0, 0, 0], [root, root, 27], [-root, -root, 27]]).T
    np.testing.assert_allclose(lorenz_slope(points_3N), 0, atol=1e-12)
    step, at_3 = 1e-6, np.array([3.0, -4.0, 21.0])
    columns = [(lorenz_slope(at_3 + step * e) - lorenz_slope(at_3 - step * e)) / (2 * step) for e in np.eye(3)]
    assert np.trace(np.array(columns)) == pytest.approx(-(10 + 1 + 8 / 3), rel=1e-6)


def growth(apart_NS: np.ndarray, times: np.ndarray) -> float:
    """The slope of the mean logarithm of a small distance, per step."""
    return np.polyfit(times, np.log(np.abs(apart_NS[:, times]) + 1e-300).mean(axis=0), 1)[0]


def test_the_lyapunov_exponent_of_lorenz():
    """How fast close states part, once their difference points where it grows most, and while it is small."""
    state_3N = trajectories("lorenz", 0, 500, 2)[:, 0].T
    close_3N = state_3N + 1e-10 * np.random.default_rng(0).standard_normal(state_3N.shape)
    apart_NS3 = lorenz(close_3N, 900, 5) - lorenz(state_3N, 900, 5)
    exponent = growth(np.linalg.norm(apart_NS3, axis=-1), np.arange(400, 900)) / SYSTEMS["lorenz"].interval
    assert exponent == pytest.approx(SYSTEMS["lorenz"].exponent, rel=0.02)
    assert SYSTEMS["lorenz"].exponent == pytest.approx(0.906, abs=0.001)  # Sprott 2003


@pytest.mark.slow
@pytest.mark.parametrize("delay", [17, 30])
def test_the_lyapunov_exponents_of_mackey_glass(delay):
    history_N = np.random.default_rng(0).uniform(0.5, 1.3, 500)
    apart_NS = mackey_glass(history_N, delay, 2500) - mackey_glass(history_N + 1e-10, delay, 2500)
    exponent = growth(apart_NS, np.arange(600, 2400))
    assert exponent == pytest.approx(SYSTEMS[f"mackey_glass_{delay}"].exponent, rel=0.05)


def test_series_follow_their_arguments(monkeypatch):
    monkeypatch.setattr(chaos, "FORGOTTEN", 20)
    for name, system in SYSTEMS.items():
        one, other = (trajectories.__wrapped__(name, part, 3, 30) for part in (0, 1))
        assert one.shape == (3, 30, len(system.names)) and one.dtype == np.float64
        np.testing.assert_array_equal(one, trajectories.__wrapped__(name, 0, 3, 30))
        assert not np.isclose(one, other).all() and not np.isclose(one[0], one[1]).all()
        with pytest.raises(ValueError, match="read-only"):
            one[0] = 0


def test_rows_of_free_runs():
    """The future follows the prefix, at random places."""
    series_NSD = np.arange(3 * 50, dtype=np.float32).reshape(3, 50, 1)
    rows = FreeRuns(series_NSD, warm_up=5, steps=7).rows(np.random.default_rng(0), 20)
    assert rows.prefix_BPD.shape == (20, 5, 1) and rows.future_BKD.shape == (20, 7, 1)
    whole_BT = np.concatenate(rows, axis=1)[..., 0]
    assert (np.diff(whole_BT) == 1).all() and len({*(whole_BT[:, 0] // 50)}) == 3
