"""The arguments of retention, gated linear attention and SSD: defaults, choices, and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.ops.linear_cases import BATCH, KEYS, NAMES, VALUES, Case, call, error, inputs, oracle
from tests.oracles import linear_attention as oracles
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.linear_attention import retention, ssd
from xlstm_jax.ops.mlstm import IMPLEMENTATIONS

each_op = pytest.mark.parametrize("op", list(NAMES))
each_implementation = pytest.mark.parametrize("implementation", list(IMPLEMENTATIONS))


def test_decays_of_retention_by_default():
    """gamma = 1 - 2^(-5 - h). Its log is not 0 even if a head's gamma rounds to 1 in float32."""
    q, k, v = (np.repeat(a, 7, axis=2) for a in inputs("retention", Case(75))[0][:3])
    heads = q.shape[2]
    log_decay, state = oracles.default_log_decay(heads), np.zeros((BATCH, heads, KEYS, VALUES))
    wanted = oracles.retention(
        *(a.astype(np.float64) for a in (q, k, v)), log_decay, state, np.zeros((BATCH, 75)), [75, 75]
    )
    got = jax.jit(retention)(q, k, v)
    assert all(error(a, b) < 1e-5 for a, b in zip(got, wanted, strict=True))
    near = jax.jit(lambda *a: retention(*a, log_decay_H=jnp.zeros(heads)))(q, k, v)
    assert error(near[0], wanted[0]) > 1e-2


@each_op
@pytest.mark.parametrize("time", [1, 75])
def test_arguments_left_out(op, time):
    """No state, resets or lengths: zero, none and full. The implementation is the mLSTM's choice, by its scope."""
    args, _, lengths = inputs(op, Case(time, state=False))
    function = jax.jit(lambda args: call(op, [*args[:-1], None], None, None))
    wanted = oracle(op, args, np.zeros((BATCH, time), bool), lengths)
    assert all(error(a, b) < 1e-5 for a, b in zip(function(args), wanted, strict=True))
    chosen = "recurrent" if time == 1 else "chunkwise"
    assert scopes(op, function.lower(args)) == [chosen]


@each_op
@each_implementation
def test_a_named_implementation_runs(op, implementation):
    args, reset, lengths = inputs(op, Case(7))
    lowered = jax.jit(lambda args: call(op, args, reset, lengths, implementation=implementation)).lower(args)
    assert scopes(op, lowered) == [implementation]


def scopes(op, lowered) -> list[str]:
    text = lowered.as_text(debug_info=True)
    return [name for name in IMPLEMENTATIONS if f"{op}_{name}" in text]


@each_op
def test_x64_mode_changes_nothing_for_float32(op):
    args, reset, lengths = inputs(op, Case(7))
    with jax.enable_x64(True):
        outputs = jax.eval_shape(lambda args: call(op, args, reset, lengths), args)
        default = jax.eval_shape(retention, *inputs("retention", Case(7))[0][:3])
    assert {a.dtype for a in (*outputs, *default)} == {np.dtype(np.float32)}


@each_op
def test_usage_errors(op):
    """One line that says what was given and what is allowed."""
    args, reset, lengths = inputs(op, Case(7))
    for index, name in enumerate(NAMES[op]):
        for misfit in (args[index][..., :1], args[index][0]):
            spoilt = [*args[:index], misfit, *args[index + 1 :]]
            with pytest.raises(UsageError, match=rf"^{op} got .*{name} \(.*; wanted .*{name} \[[A-Z,]+\][^\n]*$"):
                call(op, spoilt, reset, lengths)
    with pytest.raises(UsageError, match=r"reset \(2, 6\).*wanted.*reset \[B,T\]"):
        call(op, args, reset[:, :6], lengths)
    with pytest.raises(UsageError, match=r"lengths \(1,\).*wanted.*lengths \[B\]"):
        call(op, args, reset, lengths[:1])
    with pytest.raises(UsageError, match=rf"{op} implementation 'fast' is unknown; known: .*chunkwise"):
        call(op, args, reset, lengths, implementation="fast")
    with pytest.raises(UsageError, match=f"{op} chunk_size 0 is not allowed"):
        call(op, args, reset, lengths, chunk_size=0)


def test_groups_that_do_not_divide_the_heads():
    (x, dt, A, B, C, D, _), _, _ = inputs("ssd", Case(7))
    for groups in (3, 0):
        B_3, C_3 = (np.repeat(a[:, :, :1], groups, axis=2) for a in (B, C))
        with pytest.raises(UsageError, match=f"ssd got {groups} groups for 4 heads"):
            ssd(x, dt, A, B_3, C_3, D)
