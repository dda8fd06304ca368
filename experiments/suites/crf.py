"""The partition function of a linear-chain CRF: a scan in NumPy, and ours by a scan and by an associative product.

32 rows, 23 tags (those of CoNLL-2000 in IOB2), normal scores, float32. NumPy has the forward pass alone; the other
passes add the gradients of the emissions and of the weights. The error is that of the forward pass against the same sum
in float64.
"""

import numpy as np

from experiments.benching.base import PASSES, SUITES, jax_case
from experiments.benching.timing import Case, Facts

ROWS, TAGS = 32, 23


@SUITES.register("crf")
def crf(tiny: bool) -> list[Case]:
    """Groups by length and pass: NumPy first."""
    sizes = (8,) if tiny else (32, 128, 512)
    return [case for which in PASSES for time in sizes for case in _cases(time, which)]


def _inputs(time: int) -> list[np.ndarray]:
    """The gradient of log Z [B], emissions [B, T, A], and weights, each repeated for the rows."""
    rng = np.random.default_rng(0)
    shapes = (ROWS, time, TAGS), (TAGS, TAGS), (TAGS,), (TAGS,)
    return [np.ones(ROWS, np.float32), *(rng.standard_normal(shape).astype(np.float32) for shape in shapes)]


def _numpy(emissions_BTA, transitions_AA, start_A, end_A):
    """log Z [B] by the forward algorithm."""
    alpha_BA = start_A + emissions_BTA[:, 0]
    for time in range(1, emissions_BTA.shape[1]):
        alpha_BA = emissions_BTA[:, time] + _log_sum(alpha_BA[:, :, None] + transitions_AA)
    return _log_sum(alpha_BA + end_A)


def _log_sum(x):
    """log sum exp over axis 1."""
    highest = x.max(axis=1, keepdims=True)
    return np.log(np.exp(x - highest).sum(axis=1)) + highest[:, 0]


def _cases(time: int, which: str) -> list[Case]:
    from xlstm_jax.ops.crf import IMPLEMENTATIONS, CRFWeights, log_partition

    group, (_, *inputs) = f"{which}, T {time}", _inputs(time)
    wanted_B = _numpy(*(array.astype(np.float64) for array in inputs))

    def error(log_z_B) -> float:
        return float(np.abs(np.asarray(log_z_B, np.float64) / wanted_B - 1).max())

    forward = which == PASSES[0]
    cases = []
    if forward:
        sizes = {"tokens": ROWS * time, "size": time, "facts": lambda: Facts(error=error(_numpy(*inputs)))}
        cases.append(Case(group, "NumPy", lambda: _numpy(*inputs), **sizes))
    for name in IMPLEMENTATIONS:

        def run(emissions_BTA, transitions_AA, start_A, end_A, name=name):
            weights = CRFWeights(transitions_AA, start_A, end_A)
            return log_partition(emissions_BTA, weights, implementation=name)

        facts = (lambda run=run: error(run(*inputs))) if forward else None
        cases.append(jax_case(group, name, run, _inputs, which=which, tokens=ROWS * time, size=time, error=facts))
    return cases
