"""Series from Gaussian processes whose kernels are random sums and products, drawn by FFTs.

KernelSynth (Ansari et al. 2024, arXiv 2403.07815, section 4.2): 1 to 5 kernels are drawn from a bank with replacement,
and joined by + or * with equal probability; the series is a sample of the process over x = t / T.

A sample by Cholesky costs T^3. Here a kernel is a sum of terms (x x')^j r(|t - t'|): linear kernels give the powers, all
others are stationary, and sums and products of such sums are again such sums. The sample is then the sum of
x^j g(t), where each g is an independent stationary process with autocovariance r. On a grid it is drawn by circulant
embedding (Dietrich & Newsam 1997): r is continued to a period M, and the square root of the circulant matrix is applied
to white noise by two FFTs. M is a multiple of the periods in r, so that periodic kernels are exact; otherwise it is
`WIDER` times the series, and the negative eigenvalues, which are small, are set to 0.
"""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from xlstm_jax.data.series.synthetic.seasons import PERIODS

WIDER = 8  # an embedding's length over the series'
MOST_KERNELS = 5
DEGREE = 3  # highest power of x x' that is kept; a product of more linear kernels is not drawn


@dataclasses.dataclass(frozen=True)
class Term:
    """The kernel (x x')^power * r(lag), with r(lag) = prod_i factors[i](lag).

    Attributes:
        power: j.
        factors: functions of lags in steps, float64 arrays, and of the number of steps T.
        period: of r, in steps, if all its factors are periodic or it has none; 1 if it has none; 0: it has no period.
    """

    power: int
    factors: tuple[Callable[[np.ndarray, int], np.ndarray], ...]
    period: int

    def __mul__(self, other: "Term") -> "Term":
        period = math.lcm(self.period, other.period) if self.period and other.period else 0
        return Term(self.power + other.power, self.factors + other.factors, period)

    def autocovariance(self, lags: np.ndarray, steps: int) -> np.ndarray:
        return functools.reduce(np.multiply, (factor(lags, steps) for factor in self.factors), np.ones(len(lags)))


Kernel = tuple[Term, ...]


def periodic(period: int) -> Kernel:
    """exp(-2 sin^2(pi lag / period))."""
    return (Term(0, (lambda lags, steps: np.exp(-2 * np.sin(np.pi * lags / period) ** 2),), period),)


def rbf(length: float) -> Kernel:
    """exp(-(lag / T)^2 / (2 length^2))."""
    return (Term(0, (lambda lags, steps: np.exp(-((lags / (steps * length)) ** 2) / 2),), 0),)


def rational_quadratic(alpha: float) -> Kernel:
    """(1 + (lag / T)^2 / (2 alpha))^-alpha."""
    return (Term(0, (lambda lags, steps: (1 + (lags / steps) ** 2 / (2 * alpha)) ** -alpha,), 0),)


def linear(sigma: float) -> Kernel:
    """sigma^2 + x x'."""
    constant = Term(0, (lambda lags, steps: np.full(len(lags), sigma**2),), 1)
    return (Term(1, (), 1), *((constant,) if sigma else ()))


def white(level: float) -> Kernel:
    """level if lag = 0, else 0."""
    return (Term(0, (lambda lags, steps: np.where(lags == 0, level, 0.0),), 0),)


def bank(steps: int) -> tuple[Kernel, ...]:
    """The kernels to choose from: seasons that a series of that many steps shows twice, trends, and noise."""
    return (
        *(periodic(period) for period in PERIODS if 2 * period <= steps),
        *(linear(sigma) for sigma in (0.0, 1.0, 10.0)),
        *(rbf(length) for length in (0.1, 1.0, 10.0)),
        *(rational_quadratic(alpha) for alpha in (0.1, 1.0, 10.0)),
        *(white(level) for level in (0.1, 1.0)),
        (Term(0, (), 1),),
    )


def composed(rng: np.random.Generator, kernels: tuple[Kernel, ...]) -> Kernel:
    """1 to `MOST_KERNELS` of the kernels, joined from the left by random sums and products."""
    chosen = [kernels[n] for n in rng.integers(len(kernels), size=rng.integers(1, MOST_KERNELS + 1))]
    whole = chosen[0]
    for kernel in chosen[1:]:
        product = tuple(a * b for a in whole for b in kernel)
        fits = max(term.power for term in product) <= DEGREE
        whole = product if fits and rng.random() < 0.5 else whole + kernel
    return whole


def eigenvalues(term: Term, steps: int) -> tuple[np.ndarray, int]:
    """Nonnegative eigenvalues [M // 2 + 1] of the circulant matrix for the term's r, and M."""
    period = term.period or 1
    length = period * math.ceil(WIDER * steps / period) if period <= WIDER * steps else WIDER * steps
    if term.period and term.period <= WIDER * steps:
        length = period * math.ceil(steps / period)
    lags = np.arange(length, dtype=np.float64)
    row = term.autocovariance(np.minimum(lags, length - lags), steps)
    return np.maximum(np.fft.rfft(row).real, 0), length


def sample(rng: np.random.Generator, kernel: Kernel, steps: int) -> np.ndarray:
    """[T] values of the process with that kernel, float64."""
    x_T = np.arange(steps) / steps
    whole_T = np.zeros(steps)
    for term in kernel:
        values, length = eigenvalues(term, steps)
        noise = np.fft.rfft(rng.standard_normal(length))
        whole_T += x_T**term.power * np.fft.irfft(noise * np.sqrt(values), length)[:steps]
    return whole_T


def kernel_synth(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T] values, float64, of a process with a random kernel."""
    return sample(rng, composed(rng, bank(steps)), steps)
