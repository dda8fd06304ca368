"""Communication between devices when a sequence is split over the mesh axis "context".

Each of n devices holds T / n consecutive steps. Devices exchange only states, so no message grows with T.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.errors import UsageError
from xlstm_jax.shapes import select
from xlstm_jax.sharding import on_each_device, sharing


class Devices(NamedTuple):
    """The devices that hold the parts of a sequence, in order. Call the methods inside the map over them."""

    axes: tuple[str, ...]
    count: int

    @property
    def index(self) -> jax.Array:
        """This device's number; device 0 holds the first steps."""
        return jax.lax.axis_index(self.axes)

    def from_left(self, tree: Any, otherwise: Any, distance: int = 1) -> Any:
        """`tree` of the device `distance` places before this one, or `otherwise` if there is no such device."""
        pairs = [(i, i + distance) for i in range(self.count - distance)]
        return select(self.index >= distance, jax.lax.ppermute(tree, self.axes, pairs), otherwise)

    def before(self, combine: Callable[[Any, Any], Any], own: Any, first: Any) -> Any:
        """Combines `first` with the parts of all devices before this one: an exclusive scan in ceil(log2 n) rounds.

        `combine(one, two)` must be associative. `own` is this device's part; `first` comes before all parts.
        """
        reached, distance = self.from_left(own, first), 1
        while distance < self.count:
            left = self.from_left(reached, reached, distance)
            reached = select(self.index >= distance, combine(left, reached), reached)
            distance *= 2
        return reached

    def of(self, holder: jax.Array | int, tree: Any) -> Any:
        """Sends `tree` of device number `holder` to all devices; `holder` is one number or one per first-axis entry."""
        chosen = jnp.asarray(self.index == holder)
        return jax.lax.psum(select(chosen, tree, jax.tree.map(jnp.zeros_like, tree)), self.axes)


def over_devices(op: str, whole: Callable, part: Callable, args: tuple, specs: tuple, out_specs: Any) -> Any:
    """`whole(*args)`; if the mesh splits time, `part(devices, *args)` on each device for its own steps.

    Args:
        op: the op's name, for the error.
        whole, part: functions with the same arguments and results.
        args, specs, out_specs: as for `sharding.on_each_device`; the first argument is [B, T, ...].

    Raises:
        UsageError: T is above 1 and not a multiple of the number of devices.
    """
    axes, time = sharing("time", args, specs), args[0].shape[1]
    devices = Devices((*axes,), functools.reduce(int.__mul__, axes.values(), 1))
    if devices.count == 1 or time == 1:
        return whole(*args)
    if time % devices.count:
        raise UsageError(
            f"{op} got {time} steps for the {devices.count} devices along the mesh's axis {'context'!r}; "
            f"pad the sequence to a multiple of {devices.count} and give lengths, or use a mesh that divides it"
        )
    return on_each_device(functools.partial(part, devices), args, specs, out_specs)
