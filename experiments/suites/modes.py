"""Every implementation of the mLSTM, the sLSTM, the minLSTM and the GRU over the sequence length, in one figure.

Forward + backward with respect to all inputs and weights; batch 4, 128 features, 4 heads of 32, float32. The first case
of a group runs step by step. Memory is that of the compiled program's temporaries. The error is that of the gradient of
the first input (q or x) of one sequence, against a step-by-step scan in float64, up to 4,096 steps. The suites `mlstm`,
`slstm` and `newton` compare with other libraries, and time each pass separately.
"""

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import numpy as np

from experiments.benching.base import PASSES, SUITES, compared, in_float64, jax_case, relative_error
from experiments.benching.timing import Case
from experiments.suites.slstm import plain_scan
from xlstm_jax.errors import UsageError

SIZES = (256, 1024, 4096, 16384)
CHECKED = 4096
BATCH, HEADS, WIDTH = 4, 4, 32
BACKWARD = PASSES[1]


class Op(NamedTuple):
    name: str
    forms: tuple[str, ...]  # names of implementations, the step-by-step one first
    run: Callable  # run(form, *args) -> y
    reference: Callable  # reference(*args) -> y, step by step, gradients by autodiff
    inputs: Callable[[int], Sequence[np.ndarray]]  # inputs(T) -> (dy, *args)
    batched: int  # how many of these, from the first, have a batch axis


@SUITES.register("modes")
def modes(tiny: bool) -> list[Case]:
    """Groups by op and length; all implementations in the ops' own tables that run on this machine."""
    ops = (_mlstm(tiny), _slstm(tiny), _cell("minlstm"), _cell("gru"))
    return [_case(op, form, time) for op in ops for time in ((8,) if tiny else SIZES) for form in op.forms]


def _case(op: Op, form: str, time: int) -> Case:
    run = functools.partial(op.run, form)
    options = {"which": BACKWARD, "tokens": BATCH * time, "size": time}
    if time <= CHECKED:
        options["error"] = lambda: relative_error(compared(BACKWARD, run, _first(op, time)), _reference(op, time))
    return jax_case(f"{op.name} {BACKWARD}, T {time:,}", form, run, op.inputs, **options)


def _first(op: Op, time: int) -> list[np.ndarray]:
    """The inputs of one sequence."""
    return [array[:1] if place < op.batched else array for place, array in enumerate(op.inputs(time))]


@functools.lru_cache(maxsize=1)
def _reference(op: Op, time: int) -> np.ndarray:
    return in_float64(BACKWARD, op.reference, _first(op, time))


def _runnable(forms: Iterable[str], tiny: bool) -> tuple[str, ...]:
    """Leaves out kernels that would be interpreted, unless sizes are tiny."""
    import jax

    return tuple(form for form in forms if form != "pallas" or tiny or jax.default_backend() == "gpu")


def _mlstm(tiny: bool) -> Op:
    from xlstm_jax.ops.mlstm import IMPLEMENTATIONS, mlstm

    def run(form, *args):
        return mlstm(*args, implementation=form)[0]

    @functools.lru_cache(maxsize=1)
    def inputs(time):
        rng = np.random.default_rng(0)
        dh, q, k, v = rng.standard_normal((4, BATCH, time, HEADS, WIDTH), np.float32)
        i, f = rng.standard_normal((2, BATCH, time, HEADS), np.float32)
        return dh, q, k, v, i, f + 3

    reference = functools.partial(run, "recurrent")
    return Op("mLSTM", _runnable(IMPLEMENTATIONS, tiny), run, reference, inputs, batched=6)


def _slstm(tiny: bool) -> Op:
    from xlstm_jax.ops.slstm import IMPLEMENTATIONS, slstm

    def run(form, x, r):
        return slstm(x, r, implementation=form)[0]

    @functools.lru_cache(maxsize=1)
    def inputs(time):
        rng = np.random.default_rng(0)
        dy = rng.standard_normal((BATCH, time, HEADS, WIDTH), np.float32)
        x = rng.standard_normal((BATCH, time, 4, HEADS, WIDTH), np.float32)
        return dy, x, rng.standard_normal((4, HEADS, WIDTH, WIDTH), np.float32) / (2 * WIDTH**0.5)

    return Op("sLSTM", _runnable(IMPLEMENTATIONS, tiny), run, plain_scan, inputs, batched=2)


def _cell(name: str) -> Op:
    """A cell of `ops.recurrence` at initialisation, with the implementations that support it on this machine."""
    import jax

    from xlstm_jax.cells import CELLS, CellParams
    from xlstm_jax.ops.recurrence import IMPLEMENTATIONS, recurrence

    cell, features = CELLS.get(name), HEADS * WIDTH
    params = cell.init(jax.random.key(0), cell.Config(features, features))

    def run(form, x, *weights):
        return recurrence(
            cell, CellParams(params.config, dict(zip(params, weights, strict=True))), x, implementation=form
        )[0]

    @functools.lru_cache(maxsize=1)
    def inputs(time):
        dy, x = np.random.default_rng(0).standard_normal((2, BATCH, time, features), np.float32)
        return dy, x, *(np.asarray(params[weight]) for weight in params)

    def covers(form: str) -> bool:
        try:
            jax.eval_shape(functools.partial(run, form), *inputs(1)[1:])
        except UsageError:
            return False
        return True

    forms = tuple(form for form in IMPLEMENTATIONS if covers(form))
    return Op({"minlstm": "minLSTM", "gru": "GRU"}[name], forms, run, functools.partial(run, "scan"), inputs, batched=2)
