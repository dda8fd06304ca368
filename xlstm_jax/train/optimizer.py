"""The optimizer and its learning-rate schedule, by optax."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Self

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from xlstm_jax.config import NonNegativeFloat, NonNegativeInt, PositiveFloat, Rate, Section
from xlstm_jax.errors import UsageError

AVERAGE_RATE = 0.1  # the part of the way that a running average goes towards a batch's value


@dataclasses.dataclass(frozen=True)
class OptimizerConfig(Section, name="optimizer"):
    name: Literal["adamw", "adam", "rmsprop", "sgd"] = "adamw"  # the update rule
    learning_rate: PositiveFloat = 1e-3  # its peak
    schedule: Literal["constant", "cosine", "linear"] = "constant"  # of the learning rate, after the warm-up
    warmup_steps: NonNegativeInt = 0  # steps over which the learning rate rises linearly from 0
    final_scale: NonNegativeFloat = 0.1  # last step's learning rate over its peak, with cosine and linear
    weight_decay: NonNegativeFloat = 0.0  # of adamw, on matrices only
    clip_norm: NonNegativeFloat = 1.0  # global norm of the gradient; 0: no clipping
    b1: Rate = 0.9  # decay of the mean of gradients, in adamw and adam
    b2: Rate = 0.999  # decay of the mean of squares, in adamw, adam and rmsprop
    momentum: Rate = 0.0  # of sgd and rmsprop


def make_schedule(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Learning rate by step: a linear warm-up from 0, then constant, or down to `final_scale` of it at `steps`."""
    peak, final = config.learning_rate, config.learning_rate * config.final_scale
    after = max(steps - config.warmup_steps, 1)
    main = {
        "constant": lambda: optax.constant_schedule(peak),
        "cosine": lambda: optax.cosine_decay_schedule(peak, after, alpha=config.final_scale),
        "linear": lambda: optax.linear_schedule(peak, final, after),
    }[config.schedule]()
    if not config.warmup_steps:
        return main
    # From 1/n to n/n, so that the first step moves too.
    warmup = optax.linear_schedule(peak / config.warmup_steps, peak, config.warmup_steps - 1)
    return optax.join_schedules([warmup, main], [config.warmup_steps])


class ParameterKinds(NamedTuple):
    """What an optimizer must know of each parameter, from the metadata that its module gave it.

    Trees of bools in the shape of the parameters.
    """

    decayed: Any  # weight decay pulls it to zero: `decay=True`, or without that metadata any matrix
    running: Any  # `running=True`: an average, whose gradient is its distance from a batch's value (`nn.BatchNorm`)
    frozen: Any  # `frozen=True`: it stays as it is, and the optimizer keeps nothing for it

    @classmethod
    def of(cls, parameters: nnx.State) -> Self:
        """The kinds of a model's parameters, which may be shapes only."""

        def tree(kind: Callable[[dict[str, Any], int], bool]) -> Any:
            def of_one(variable: nnx.Variable) -> nnx.Variable:
                metadata = variable.get_metadata()
                axes = variable.get_value().ndim - metadata.get("stacked", False)  # the first one counts layers
                return variable.replace(bool(kind(metadata, axes)))

            return nnx.to_pure_dict(
                jax.tree.map(of_one, parameters, is_leaf=lambda node: isinstance(node, nnx.Variable))
            )

        return cls(
            decayed=tree(lambda metadata, axes: metadata.get("decay", axes >= 2)),
            running=tree(lambda metadata, axes: metadata.get("running", False)),
            frozen=tree(lambda metadata, axes: metadata.get("frozen", False)),
        )

    def learned(self, gradients: Any) -> Any:
        """The gradients, with zeros for running averages and for what is frozen."""

        def kept(running: bool, frozen: bool, gradient: jax.Array) -> jax.Array:
            return jnp.zeros_like(gradient) if running or frozen else gradient

        return jax.tree.map(kept, self.running, self.frozen, gradients)


def make_optimizer(
    config: OptimizerConfig, steps: int, kinds: ParameterKinds | None
) -> tuple[optax.GradientTransformation, optax.Schedule]:
    """The optimizer for a run of `steps` steps, and its schedule.

    Without `kinds`, only the config is checked, and the optimizer treats all parameters alike.

    Raises:
        UsageError: weight decay or momentum with an optimizer that has none, or a warm-up longer than the run.
    """
    if config.weight_decay and config.name != "adamw":
        raise UsageError(f"optimizer.weight_decay {config.weight_decay} needs optimizer.name adamw, not {config.name}")
    if config.momentum and config.name not in ("sgd", "rmsprop"):
        raise UsageError(
            f"optimizer.momentum {config.momentum} needs optimizer.name sgd or rmsprop; that of {config.name} is b1"
        )
    if config.warmup_steps > steps:
        raise UsageError(
            f"optimizer.warmup_steps {config.warmup_steps} is more than train.steps {steps}; lower it, or train longer"
        )
    schedule = make_schedule(config, steps)
    rule = {
        "adamw": lambda: optax.adamw(
            schedule, config.b1, config.b2, weight_decay=config.weight_decay, mask=kinds and kinds.decayed
        ),
        "adam": lambda: optax.adam(schedule, config.b1, config.b2),
        "rmsprop": lambda: optax.rmsprop(schedule, decay=config.b2, momentum=config.momentum or None),
        "sgd": lambda: optax.sgd(schedule, momentum=config.momentum or None),
    }[config.name]()
    clip = [optax.clip_by_global_norm(config.clip_norm)] if config.clip_norm else []
    optimizer = optax.chain(*clip, rule)
    if kinds and any(jax.tree.leaves(kinds.frozen)):
        optimizer = optax.masked(optimizer, jax.tree.map(lambda frozen: not frozen, kinds.frozen))
    return (_averaging(optimizer, kinds) if kinds else optimizer), schedule


def _averaging(optimizer: optax.GradientTransformation, kinds: ParameterKinds) -> optax.GradientTransformation:
    """The optimizer, which leaves running averages alone; they go `AVERAGE_RATE` of the way to the batch's values."""

    def update(gradients, state, params=None):
        updates, state = optimizer.update(kinds.learned(gradients), state, params)

        def moved(running, frozen, update, gradient):
            return -AVERAGE_RATE * gradient if running and not frozen else update

        return jax.tree.map(moved, kinds.running, kinds.frozen, updates, gradients), state

    return optax.GradientTransformation(optimizer.init, update)


def updates_made(opt_state: Any) -> jax.Array:
    """Updates so far, int32: the schedule's position."""
    return next(
        part.count
        for part in jax.tree.leaves(opt_state, is_leaf=lambda part: isinstance(part, optax.ScaleByScheduleState))
        if isinstance(part, optax.ScaleByScheduleState)
    )
