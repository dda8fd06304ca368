"""The chunkwise form with kernels: gates in XLA, all products in kernels, with an exact gradient."""

import functools

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec as P

from xlstm_jax.autodiff import custom_vjp
from xlstm_jax.cells.mlstm import MLSTMState, mlstm_step
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.kernels import missing, padded, where_compiled
from xlstm_jax.ops.mlstm.chunk import Options
from xlstm_jax.ops.mlstm.chunkwise import whole_pieces
from xlstm_jax.ops.mlstm.decays import Parts
from xlstm_jax.ops.mlstm.pallas import backward, decode, forward
from xlstm_jax.ops.mlstm.pallas.gates import Exponents, Factors, gates
from xlstm_jax.ops.mlstm.pallas.normalizer import through_normalizer
from xlstm_jax.ops.mlstm.pallas.tiles import Tiles, choose
from xlstm_jax.ops.mlstm.pallas.tpu import Chunk, core
from xlstm_jax.ops.recurrence import select
from xlstm_jax.sharding import on_each_device

# Most features per head of q and k, and of v: more do not fit on the chip.
MOST = 512


def unsupported(q, k, v) -> str:
    """Why the kernels cannot run heads of this size; empty if they can."""
    keys, values = q.shape[-1], v.shape[-1]
    return f"got K {keys}, V {values}; it takes heads of at most {MOST}" if max(keys, values) > MOST else missing()


def pallas(q, k, v, log_i, log_f, state, reset, *, chunk_size, tiles: Tiles | Chunk | None = None, **options):
    """h [B,T,H,V] and the final state; under a mesh, each device runs its part of the batch and heads.

    T is padded to whole chunks, K and V to whole tiles. `tiles` overrides the choice from the shapes, and names the
    device: `Tiles` a GPU, `tpu.Chunk` a TPU. `chunk_size` is rounded up to a multiple of 16, on TPU of 128. On a GPU, a
    single step has its own kernel.
    """
    if why := unsupported(q, k, v):
        raise UsageError(f"mlstm implementation 'pallas' {why}")
    run = functools.partial(_local, chunk_size=chunk_size, tiles=tiles, options=Options(**options))
    sequence, state_spec = P("batch", None, "heads"), MLSTMState(*[P("batch", "heads")] * 3)
    specs = (*[sequence] * 5, state_spec, P("batch"))
    return on_each_device(run, (q, k, v, log_i, log_f, state, reset), specs, (sequence, state_spec))


def _local(q, k, v, log_i, log_f, state, reset, *, chunk_size, tiles, options):
    args, dtype = (q, k, v, log_i, log_f, state, reset), jnp.result_type(q, k, v)
    chunk = tiles if isinstance(tiles, Chunk) else Chunk.choose(q.shape[1], q.shape[-1], v.shape[-1], dtype, chunk_size)
    on_tpu = functools.partial(_on_tpu, chunk=chunk, options=options)
    narrow = state.C.dtype == jnp.float32  # a TPU has no float64
    if tiles is chunk:
        if not narrow:
            raise UsageError(f"mlstm implementation {chunk} computes in float32; got arrays of {state.C.dtype}")
        return on_tpu(*args)
    on_gpu = functools.partial(_on_gpu, chunk_size=chunk_size, tiles=tiles, options=options)
    return where_compiled(on_tpu, on_gpu, *args, platforms=("tpu",)) if narrow and tiles is None else on_gpu(*args)


def _on_gpu(q, k, v, log_i, log_f, state, reset, *, chunk_size, tiles, options):
    time, keys, values = q.shape[1], q.shape[-1], v.shape[-1]
    if time == 1 and tiles is None:
        h, state = decode.step(options, *(a[:, 0] for a in (q, k, v, log_i, log_f)), _restarted(state, reset))
        return h[:, None], state
    tiles = tiles or choose(time, keys, values, jnp.result_type(q, k, v), chunk_size)
    q, k, v, exponents, factors, m = _in_chunks(q, k, v, log_i, log_f, state, reset, tiles.chunk, options)
    q, k, v = (padded(a, -1, size) for a, size in ((q, tiles.keys), (k, tiles.keys), (v, tiles.values)))
    C, n = padded(padded(state.C, -1, tiles.values), -2, tiles.keys), padded(state.n, -1, tiles.keys)
    h, C, n = _core(tiles, options, keys**-0.5, q, k, v, exponents, factors, C, n)
    return h[:, :time, :, :values], MLSTMState(C=C[..., :keys, :values], n=n[..., :keys], m=m)


def _on_tpu(q, k, v, log_i, log_f, state, reset, *, chunk, options):
    time, scale = q.shape[1], q.shape[-1] ** -0.5
    if time == 1:
        state, h = mlstm_step(
            _restarted(state, reset), *(a[:, 0] for a in (q, k, v, log_i, log_f)), **options._asdict()
        )
        return h[:, None], state
    args = (q, k, v, log_i, log_f, state, reset)
    q, k, v, exponents, factors, m = _in_chunks(*args, chunk.length, options, group=chunk.group)
    h, C, n = core(chunk, options, scale, q, k, v, exponents, factors, state.C, state.n)
    return h[:, :time], MLSTMState(C=C, n=n, m=m)


def _restarted(state: MLSTMState, reset) -> MLSTMState:
    """The state before a single step."""
    return state if reset is None else select(reset[:, 0], jax.tree.map(jnp.zeros_like, state), state)


def _in_chunks(q, k, v, log_i, log_f, state, reset, length, options, *, group=1):
    """q, k and v of one dtype with T padded to whole groups of chunks, their gates, and the final m."""
    q, k, v, log_i, log_f, reset = whole_pieces((q, k, v, log_i, log_f, reset), length * group)
    wide, dtype = state.C.dtype, jnp.result_type(q, k, v)
    exponents, factors, m = gates(log_i.astype(wide), log_f.astype(wide), state.m, reset, length, options)
    return *(a.astype(dtype) for a in (q, k, v)), exponents, factors, m


@custom_vjp(
    "the kernels of the mLSTM's core",
    instead="implementation='recurrent'",
    reverse_alone=True,
    nondiff_argnums=(0, 1, 2),
)
def _core(tiles: Tiles, options: Options, scale: float, q, k, v, exponents: Exponents, factors: Factors, C, n):
    """h [B,T,H,V], and the final C and n in float32. The backward pass recomputes the states between chunks."""
    return _run(tiles, options, scale, q, k, v, exponents, factors, C, n, rest=False)[0]


def _run(tiles, options, scale, q, k, v, exponents, factors, C, n, *, rest):
    C_before, n_before, *end = forward.chunk_states(k, v, factors, C, n, tiles)
    states, how = (factors.before, C_before, n_before), (tiles, options, scale)
    h, nq, rest = forward.outputs(q, k, v, exponents, *states, *how, rest=rest)
    return (h, *end), (h, rest, nq)


def _forward(tiles, options, scale, *args):
    results, of_h = _run(tiles, options, scale, *args, rest=options.normalize)
    return results, (*args, of_h)


def _backward(tiles, options, scale, residuals, cotangents):
    q, k, v, exponents, factors, C, n, of_h = residuals
    dh, dC, dn = cotangents
    of, dm = through_normalizer(options, scale, dh, *of_h, exponents.m)
    C_before, n_before, *_ = forward.chunk_states(k, v, factors, C, n, tiles)
    after = backward.state_gradients(q, of, factors, C_before, n_before, dC, dn, tiles)
    dC_after, dn_after, dC, dn, dchunk = after
    dq, drow, dbefore = backward.q_gradient(q, k, v, exponents, factors.before, of, C_before, n_before, tiles)
    dk, dcolumn, dlast = backward.k_gradient(q, k, v, exponents, factors.last, of, dC_after, dn_after, tiles)
    dv = backward.v_gradient(q, k, v, exponents, factors.last, of, dC_after, tiles)
    dexponents = Exponents(Parts(None, None, drow), Parts(None, None, dcolumn), dm, segment=None)
    return dq, dk, dv, dexponents, Factors(dbefore, dlast, dchunk), dC, dn


_core.defvjp(_forward, _backward)
