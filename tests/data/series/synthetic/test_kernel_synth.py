"""KernelSynth: kernels against their formulas, their algebra, and samples against their covariance."""

import itertools

import numpy as np
import pytest

from xlstm_jax.data.batches import generator
from xlstm_jax.data.series.synthetic.kernel_synth import (
    DEGREE,
    MOST_KERNELS,
    bank,
    composed,
    eigenvalues,
    kernel_synth,
    linear,
    periodic,
    rational_quadratic,
    rbf,
    sample,
    white,
)

STEPS = 64
TIME = np.arange(STEPS) / STEPS
LAG = TIME[:, None] - TIME
# kernels by their formulas over x = t / T
FORMULAS = {
    "periodic": (periodic(12), np.exp(-2 * np.sin(np.pi * LAG * STEPS / 12) ** 2)),
    "rbf": (rbf(0.1), np.exp(-(LAG**2) / 0.02)),
    "narrow": (rbf(0.02), np.exp(-(LAG**2) / 0.0008)),
    "smooth": (rbf(10.0), np.exp(-(LAG**2) / 200)),
    "quadratic": (rational_quadratic(0.1), (1 + LAG**2 / 0.2) ** -0.1),
    "mixed": (rational_quadratic(1.0), 1 / (1 + LAG**2 / 2)),
    "linear": (linear(10.0), 100 + np.outer(TIME, TIME)),
    "white": (white(0.1), 0.1 * np.eye(STEPS)),
}


def matrix(kernel):
    """The covariance [T, T] that the terms say."""
    lags = np.abs(np.arange(STEPS)[:, None] - np.arange(STEPS)).ravel().astype(np.float64)
    whole = np.zeros((STEPS, STEPS))
    for term in kernel:
        envelopes = np.stack([*term.envelopes(STEPS)])
        whole += envelopes.T @ envelopes * term.autocovariance(lags, STEPS).reshape(STEPS, STEPS)
    return whole


@pytest.mark.parametrize("name", FORMULAS)
def test_kernels_by_their_formulas(name):
    kernel, wanted = FORMULAS[name]
    np.testing.assert_allclose(matrix(kernel), wanted, atol=1e-10)


def test_compositions_are_sums_and_products():
    """Of the matrices of kernels, joined from the left by the same choices."""
    kernels = tuple(kernel for kernel, _ in FORMULAS.values())
    for seed in range(30):
        whole = composed(np.random.default_rng(seed), kernels)
        rng = np.random.default_rng(seed)
        chosen = [kernels[n] for n in rng.integers(len(kernels), size=rng.integers(1, MOST_KERNELS + 1))]
        wanted, power = matrix(chosen[0]), max(term.power for term in chosen[0])
        for kernel in chosen[1:]:
            degree = max(term.power for term in kernel)  # the seasons have a short common period
            if power + degree <= DEGREE and rng.random() < 0.5:
                wanted, power = wanted * matrix(kernel), power + degree
            else:
                wanted, power = wanted + matrix(kernel), max(power, degree)
        np.testing.assert_allclose(matrix(whole), wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("pair", [*itertools.combinations_with_replacement(FORMULAS, 2)], ids="-".join)
def test_the_circulant_matrix_has_the_covariance(pair):
    """Exactly for periodic kernels; within 0.3% of the variance for others, whose negative eigenvalues are cut off."""
    product = tuple(a * b for a in FORMULAS[pair[0]][0] for b in FORMULAS[pair[1]][0])
    for term in product:
        values, length = eigenvalues(term, STEPS)
        wanted = term.autocovariance(np.arange(STEPS, dtype=np.float64), STEPS)
        error = np.abs(np.fft.irfft(values, length)[:STEPS] - wanted).max() / wanted[0]
        assert error < (3e-3 if term.fades else 1e-9), (pair, error)


def test_samples_have_the_covariance():
    kernel = (*(a * b for a in linear(1.0) for b in periodic(8)), *rbf(0.1))
    rng, count = np.random.default_rng(0), 4000
    drawn = np.stack([sample(rng, kernel, STEPS) for _ in range(count)])
    wanted = matrix(kernel)
    spread = np.sqrt((wanted**2 + np.outer(np.diag(wanted), np.diag(wanted))) / count)  # of a Gaussian's covariance
    assert np.abs((drawn.T @ drawn / count - wanted) / spread).max() < 5


def test_series_are_finite_and_follow_the_generator():
    for number in range(50):
        values = kernel_synth(generator(0, number), 300)
        assert values.shape == (300,) and np.isfinite(values).all()
        np.testing.assert_array_equal(values, kernel_synth(generator(0, number), 300))
    assert len(bank(40)) < len(bank(1024))  # only seasons that are seen twice
