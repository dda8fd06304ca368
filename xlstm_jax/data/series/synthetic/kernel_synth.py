"""Series from Gaussian processes whose kernels are random sums and products, drawn by FFTs.

KernelSynth (Ansari et al. 2024, arXiv 2403.07815, section 4.2): 1 to 5 kernels are drawn from a bank with replacement,
and joined by + or * with equal probability; the series is a sample of the process over x = t / T.

A sample by Cholesky costs T^3. Here a kernel is a sum of terms a(x) a(x') r(|t - t'|), with r stationary, and sums and
products of such sums are again such sums. A term's sample is a(x) g(t), where the g are independent stationary
processes with autocovariance r. Linear kernels have a(x) = x, and wide Gaussian kernels are few terms with a rank of
one: exp(-p (u - u')^2 / 2) = sum_k a_k(u) a_k(u'), a_k(u) = exp(-p u^2 / 2) sqrt(p^k / k!) u^k, u = x - 1/2.

On a grid, g is drawn by circulant embedding (Dietrich & Newsam 1997): r is continued to a period M, and the square root
of the circulant matrix is applied to white noise by two FFTs. M is a multiple of the periods in r, so that periodic
kernels are exact. With other factors it is at least `WIDER` times the series, and the negative eigenvalues, which are
small, are set to 0.
"""

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator

import numpy as np

from xlstm_jax.data.series.synthetic.seasons import PERIODS

WIDER = 8  # an embedding's length over the series'
MOST_KERNELS = 5
WIDE = 0.5  # lengths of Gaussian kernels from which on they are sums of terms of rank one
MOST_ENVELOPES, SMALLEST = 30, 1e-6
DEGREE, LONGEST = 3, 50_000  # highest power of x x', and longest common period; other products become sums


@dataclasses.dataclass(frozen=True)
class Term:
    """The kernel (x x')^power * exp(-precision (x - x')^2 / 2) * r(lag), with r(lag) = prod_i factors[i](lag).

    Attributes:
        power: of x x'.
        precision: p of a wide Gaussian; 0: none.
        factors: functions of lags in steps, float64 arrays, and of the number of steps T.
        period: of the periodic factors, in steps; 1 if there are none.
        fades: whether there are factors that are not periodic.
    """

    power: int = 0
    precision: float = 0.0
    factors: tuple[Callable[[np.ndarray, int], np.ndarray], ...] = ()
    period: int = 1
    fades: bool = False

    def __mul__(self, other: "Term") -> "Term":
        return Term(
            self.power + other.power,
            self.precision + other.precision,
            self.factors + other.factors,
            math.lcm(self.period, other.period),
            self.fades or other.fades,
        )

    def envelopes(self, steps: int) -> Iterator[np.ndarray]:
        """The a_k(x) of the T steps, [T] each, until they are smaller than `SMALLEST`."""
        x_T = np.arange(steps) / steps
        u_T = x_T - 0.5
        shape_T = x_T**self.power * np.exp(-self.precision * u_T**2 / 2)
        for k in range(MOST_ENVELOPES):
            yield shape_T
            shape_T = shape_T * u_T * np.sqrt(self.precision / (k + 1))
            if np.abs(shape_T).max() < SMALLEST:
                return

    def autocovariance(self, lags: np.ndarray, steps: int) -> np.ndarray:
        return functools.reduce(np.multiply, (factor(lags, steps) for factor in self.factors), np.ones(len(lags)))


Kernel = tuple[Term, ...]


def periodic(period: int) -> Kernel:
    """exp(-2 sin^2(pi lag / period))."""
    return (Term(factors=(lambda lags, steps: np.exp(-2 * np.sin(np.pi * lags / period) ** 2),), period=period),)


def rbf(length: float) -> Kernel:
    """exp(-(lag / T)^2 / (2 length^2))."""
    if length >= WIDE:
        return (Term(precision=length**-2),)
    return (Term(factors=(lambda lags, steps: np.exp(-((lags / (steps * length)) ** 2) / 2),), fades=True),)


def rational_quadratic(alpha: float) -> Kernel:
    """(1 + (lag / T)^2 / (2 alpha))^-alpha."""
    return (Term(factors=(lambda lags, steps: (1 + (lags / steps) ** 2 / (2 * alpha)) ** -alpha,), fades=True),)


def linear(sigma: float) -> Kernel:
    """sigma^2 + x x'."""
    constant = Term(factors=(lambda lags, steps: np.full(len(lags), sigma**2),))
    return (Term(power=1), *((constant,) if sigma else ()))


def white(level: float) -> Kernel:
    """level if lag = 0, else 0."""
    return (Term(factors=(lambda lags, steps: np.where(lags == 0, level, 0.0),), fades=True),)


def bank(steps: int) -> tuple[Kernel, ...]:
    """The kernels to choose from: seasons that a series of that many steps shows twice, trends, and noise."""
    return (
        *(periodic(period) for period in PERIODS if 2 * period <= steps),
        *(linear(sigma) for sigma in (0.0, 1.0, 10.0)),
        *(rbf(length) for length in (0.1, 1.0, 10.0)),
        *(rational_quadratic(alpha) for alpha in (0.1, 1.0, 10.0)),
        *(white(level) for level in (0.1, 1.0)),
        (Term(),),
    )


def composed(rng: np.random.Generator, kernels: tuple[Kernel, ...]) -> Kernel:
    """1 to `MOST_KERNELS` of the kernels, joined from the left by sums and products with equal probability."""
    chosen = [kernels[n] for n in rng.integers(len(kernels), size=rng.integers(1, MOST_KERNELS + 1))]
    whole = chosen[0]
    for kernel in chosen[1:]:
        product = tuple(a * b for a in whole for b in kernel)
        fits = all(term.power <= DEGREE and term.period <= LONGEST for term in product)
        whole = product if fits and rng.random() < 0.5 else whole + kernel
    return whole


def eigenvalues(term: Term, steps: int) -> tuple[np.ndarray, int]:
    """Nonnegative eigenvalues [M // 2 + 1] of the circulant matrix for the term's r, and M."""
    length = term.period * math.ceil((WIDER if term.fades else 1) * steps / term.period)
    lags = np.arange(length, dtype=np.float64)
    row = term.autocovariance(np.minimum(lags, length - lags), steps)
    return np.maximum(np.fft.rfft(row).real, 0), length


def sample(rng: np.random.Generator, kernel: Kernel, steps: int) -> np.ndarray:
    """[T] values of the process with that kernel, float64."""
    whole_T = np.zeros(steps)
    for term in kernel:
        values, length = eigenvalues(term, steps)
        for shape_T in term.envelopes(steps):
            noise = np.fft.rfft(rng.standard_normal(length))
            whole_T += shape_T * np.fft.irfft(noise * np.sqrt(values), length)[:steps]
    return whole_T


def kernel_synth(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T] values, float64, of a process with a random kernel."""
    return sample(rng, composed(rng, bank(steps)), steps)
