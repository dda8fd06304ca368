"""Newton's method over time and the scan: one sequence, 16 features in, 32 out, initial weights, normal inputs.

A case's name includes the number of iterations until no state changed by more than 1e-5.
"""

from experiments.benching.base import SUITES
from experiments.benching.timing import Case


@SUITES.register("newton")
def newton(tiny: bool) -> list[Case]:
    """Cases by cell and length: the scan first, then the full and the diagonal Jacobian."""
    sizes = (8,) if tiny else (256, 1024, 4096)
    return [case for cell in ("lstm", "gru") for time in sizes for case in _cases(cell, time)]


def _cases(name: str, time: int) -> list[Case]:
    import jax

    from xlstm_jax.cells import CELLS
    from xlstm_jax.ops.recurrence import NewtonOptions, newton_recurrence, recurrence

    cell = CELLS.get(name)
    params = cell.init(jax.random.key(0), cell.Config(in_features=16, features=32))
    x = jax.random.normal(jax.random.key(1), (1, time, 16))
    group = f"{name}, T {time:,}"

    @jax.jit
    def scan(params, x):
        return recurrence(cell, params, x)[0]

    cases = [Case(group, "scan", lambda: jax.block_until_ready(scan(params, x)), time)]
    for jacobian in ("full", "diagonal"):
        options = NewtonOptions(jacobian=jacobian)

        @jax.jit
        def solve(params, x, options=options):
            return newton_recurrence(cell, params, x, options=options)

        report = solve(params, x)[2]
        label = f"newton {jacobian}, {report.iterations} iterations{'' if report.converged else ', NOT CONVERGED'}"
        cases.append(Case(group, label, lambda solve=solve: jax.block_until_ready(solve(params, x)), time))
    return cases
