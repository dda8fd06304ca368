"""The training step: a pure function of parts, state and batch."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from xlstm_jax.train.accumulate import accumulated
from xlstm_jax.train.build import Parts
from xlstm_jax.train.optimizer import updates_made
from xlstm_jax.train.workdir.borrowed import with_borrowed


class TrainState(NamedTuple):
    """All that training changes; with the data's position it is all that a resumed run needs."""

    step: jax.Array  # int32, steps done
    params: Any
    opt_state: optax.OptState
    carry: Any  # of the task after the last batch, or None if batches start afresh


def make_state(parts: Parts) -> TrainState:
    """The state before the first step, a function of the seed. To be compiled: see `init_state`."""
    params, task = parts.new_params(), parts.task
    carry = task.init_carry(parts.model(params), task.config.batch_size) if task.passes_carry else None
    return TrainState(jnp.zeros((), jnp.int32), params, parts.optimizer.init(params), carry)


@functools.lru_cache(maxsize=4)
def abstract_state(parts: Parts) -> TrainState:
    """The state's shapes, dtypes and places."""
    abstract = jax.eval_shape(functools.partial(make_state, parts))
    shardings = parts.placement.state(abstract, parts.optimizer)
    return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, shardings)


def _shardings(parts: Parts) -> TrainState:
    return jax.tree.map(lambda leaf: leaf.sharding, abstract_state(parts))


def init_state(parts: Parts) -> TrainState:
    """The state before the first step, the same on every mesh, made where it lies."""
    state, task = jax.jit(functools.partial(make_state, parts), out_shardings=_shardings(parts))(), parts.task
    if loan := task.borrowed(task.config):
        return state._replace(params=with_borrowed(state.params, loan, task.codec.lent))
    return state


@functools.lru_cache(maxsize=4)
def compiled_step(parts: Parts) -> Callable[[TrainState, Any], tuple[TrainState, dict[str, jax.Array]]]:
    """`train_step` of these parts, compiled; the state given is used up."""
    shardings = _shardings(parts), parts.placement.replicated
    return jax.jit(functools.partial(train_step, parts), donate_argnums=0, out_shardings=shardings)


def train_step(parts: Parts, state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
    """One step: the new state, and this step's loss, gradient norm and learning rate.

    If loss or gradient norm is not finite the step is skipped: it counts, and everything else stays as it was. The
    metric `skipped` is the number of such steps so far; the schedule does not advance in them.
    """
    key = jax.random.fold_in(jax.random.key(parts.sections.seed), state.step)

    def forward(params, batch, carry, key):
        outcome = parts.task.forward(parts.model(parts.placement.gathered(params)), batch, carry, key)
        return outcome.loss, outcome.carry

    count, axes = parts.sections.train.accumulate, parts.task.axes(batch)
    (loss, carry), grads = accumulated(forward, count, state.params, (batch, axes), state.carry, key)
    updates, opt_state = parts.optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, updates)
    grad_norm = optax.tree.norm(parts.kinds.learned(grads))
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    kept = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old),
        (params, opt_state, carry if parts.task.passes_carry else None),
        (state.params, state.opt_state, state.carry),
    )
    after = TrainState(state.step + 1, *kept)
    metrics = {
        "loss": loss,
        "grad_norm": grad_norm,
        "learning_rate": parts.schedule(updates_made(state.opt_state)),
        "skipped": after.step - updates_made(after.opt_state),
    }
    return after, metrics
