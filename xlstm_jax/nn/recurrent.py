"""Recurrent layers: any cell as a layer or a stack of layers."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.cells import CELLS
from xlstm_jax.checks import check_choice, check_dtype, check_parts, check_sizes, checked
from xlstm_jax.config import Rate, check_value, from_section
from xlstm_jax.errors import UsageError
from xlstm_jax.nn.recurrent_weights import Directions, RecurrentWeights, with_batch, without_batch
from xlstm_jax.nn.torch_weights import from_torch, to_torch
from xlstm_jax.ops.recurrence import Noise, recurrence
from xlstm_jax.ops.recurrence.choice import chosen
from xlstm_jax.shapes import padding, zero_where

Merge = Literal["concat", "sum", "mean"]
DropoutKind = Literal["between_layers", "variational", "recurrent", "zoneout"]


class Recurrent(RecurrentWeights):
    """A stack of `num_layers` recurrent layers of one cell.

    There is no train or eval mode: a call without a `key` is deterministic.

    Args:
        cell: a name in `CELLS`.
        in_features: width of the inputs.
        features: width of each layer's output in each direction.
        num_layers: depth of the stack.
        bidirectional: each layer has a second cell with separate weights that runs from the end of each sequence to its
            start.
        merge: how to combine the outputs of the two directions: "concat" (2 * features wide), "sum" or "mean".
        dropout: the dropout rate; active in calls with a `key`. Zoneout uses its mean in calls without one.
        dropout_kind: "between_layers" drops outputs of every layer but the last, with a new mask each step (like
            PyTorch); "variational" drops each layer's inputs (same mask for both directions) and its fed-back output,
            with one mask per sequence for each (Gal & Ghahramani 2016); "recurrent" drops the fed-back output, with a
            new mask each step; "zoneout" keeps random features of the carry at their old value, with a new mask each
            step, and takes the mean without a key (Krueger et al. 2016).
        residual: add each layer's input, before dropout, to its output if both have the same width.
        learned_carry: make the carry before the first step, to which resets return, a parameter.
        remat_every, implementation: as in `ops.recurrence`.
        dtype: of the products and outputs. Parameters are float32; the carry is too, unless dtype is float64.
        rngs: the `params` stream initialises the weights.
        **options: further fields of the cell's config, such as `forget_bias`, `recurrent_init`, `bias`.

    Raises:
        UsageError: unsupported combination of arguments; the message says what is allowed.
    """

    def __init__(
        self,
        cell: str,
        in_features: int,
        features: int,
        *,
        num_layers: int = 1,
        bidirectional: bool = False,
        merge: Merge = "concat",
        dropout: float = 0.0,
        dropout_kind: DropoutKind = "between_layers",
        residual: bool = False,
        learned_carry: bool = False,
        remat_every: int | None = None,
        implementation: str | None = None,
        dtype: jnp.dtype = jnp.float32,
        rngs: nnx.Rngs,
        **options: Any,
    ):
        cell_class = CELLS.get(cell)
        check_dtype("Recurrent", dtype)
        switches = {"bidirectional": bidirectional, "residual": residual, "learned_carry": learned_carry}
        for name, switch in switches.items():
            check_value(bool, switch, f"Recurrent {name}")
        _check(cell, cell_class, merge, dropout, dropout_kind, num_layers)
        self.merge, self.residual, self.dropout_kind = merge, residual, dropout_kind
        self.remat_every, self.implementation = remat_every, implementation
        inside = dropout > 0 and dropout_kind != "between_layers"
        self.noise = Noise(dropout_kind, dropout) if inside else None
        # One mask for all steps of a sequence, or a new one for each step.
        once = (1,) if dropout_kind == "variational" else ()
        self.dropout = nnx.Dropout(dropout, broadcast_dims=once)
        width = features * (2 if bidirectional and merge == "concat" else 1)
        sizes = [in_features if layer == 0 else width for layer in range(num_layers)]
        configs = tuple(
            from_section(cell_class.Config, {"in_features": size, "features": features, **options}, cell)
            for size in sizes
        )
        if self.noise is not None:
            self.noise.check(cell_class, cell_class.init_carry(configs[0], (1,)))
        chosen(cell_class, self.noise, remat_every, implementation)
        if residual and width not in sizes:
            raise UsageError(f"residual=True needs a layer as wide as its input; inputs {sizes}, outputs {width}")
        both = {"bidirectional": bidirectional, "learned_carry": learned_carry}
        super().__init__(cell_class, cell, configs, **both, dtype=dtype, rngs=rngs)

    from_torch = classmethod(from_torch)
    to_torch = to_torch

    def __call__(
        self,
        x_BTD: jax.Array,
        carry: tuple[Any, ...] | None = None,
        lengths: jax.Array | None = None,
        reset: jax.Array | None = None,
        *,
        mask: jax.Array | None = None,
        key: jax.Array | None = None,
        return_carries: bool = False,
    ) -> tuple[jax.Array, tuple[Any, ...]] | tuple[jax.Array, tuple[Any, ...], tuple[Any, ...]]:
        """Outputs [B, T, width] of the last layer, and the carry of all layers.

        Args:
            x_BTD: inputs, [B, T, *spatial_shape, D] for a ConvLSTM. A single sequence may omit the axis B. Then no
                other argument (`lengths` is a number) and no returned array has it.
            carry: from an earlier call; None uses `init_carry`. The reverse direction starts from it at the end.
            lengths: [B] ints. Steps after a sequence's end leave the carry unchanged and have zero output.
            reset: [B, T] bools, true where a new document begins. The carry becomes `init_carry` between t - 1 and t,
                in both directions, so each document has the same outputs as if it were run separately. On padding, a
                reset acts before the next step that is not padding. At the first step it acts only in the forward
                direction.
            mask: [B, T] bools, false for padding, which may be on the left, on the right or in between. A padding step
                leaves the carry unchanged and has zero output, in both directions. `lengths` covers right padding only.
            key: draws the dropout masks; without a key nothing is dropped.
            return_carries: also return, as a third value, the carries of all layers after each step, structured like
                the carry with leaves [B, T, ...]. The backward direction's carry at t has seen t and later steps.
        """
        if self._unbatched(x_BTD, axes=1):
            *arguments, mask = with_batch((x_BTD, carry, lengths, reset, mask))
            return without_batch(self(*arguments, mask=mask, key=key, return_carries=return_carries))
        x_BTD, lengths, reset, mask = self._checked("BT", x_BTD, carry, lengths, reset, mask)
        x, carries, recorded = x_BTD.astype(self.dtype), [], []
        masks = {"lengths_B": lengths, "reset_BT": reset, "mask_BT": mask}
        if self.residual:
            x = zero_where(padding(lengths, mask, x.shape[:2]), x)  # the residual must be zero on padding too
        for layer in range(len(self.configs)):
            layer_key = None if key is None else jax.random.fold_in(key, layer)
            given = self._dropped(x, layer, layer_key)
            before = None if carry is None else carry[layer]
            y, after, *every = self._layer(layer, given, before, masks, layer_key, return_carries)
            x = x + y if self.residual and x.shape == y.shape else y
            carries.append(after)
            recorded += every
        return (x, tuple(carries), tuple(recorded)) if return_carries else (x, tuple(carries))

    def _unbatched(self, x: jax.Array, axes: int) -> bool:
        """Whether x lacks the batch axis: only `axes` axes precede those of a step's input."""
        try:
            given = np.ndim(x)
        except ValueError:  # a ragged list, which `checked` refuses
            return False
        return given == axes + 1 + len(getattr(self.configs[0], "spatial_shape", ()))

    def _dropped(self, x: jax.Array, layer: int, key: jax.Array | None) -> jax.Array:
        """A layer's input after the dropout that acts outside the recurrence."""
        between = self.dropout_kind == "between_layers" and layer > 0
        if key is None or not (between or self.dropout_kind == "variational"):
            return x
        return self.dropout(x, deterministic=False, rngs=jax.random.fold_in(key, 0))

    def _layer(self, layer, x, carry, masks, key, return_carries) -> tuple[Any, ...]:
        """One layer in one or both directions: y, the carry and, if `return_carries`, the carries after each step."""

        def run(carry, *, backward):
            return recurrence(
                self.cell,
                self._params(layer, backward=backward),
                x,
                carry=carry,
                start=self._start(layer, x.shape[0], backward=backward),
                **masks,
                reverse=backward,
                noise=self.noise,
                key=None if key is None else jax.random.fold_in(key, 1 + backward),
                remat_every=self.remat_every,
                implementation=self.implementation,
                return_carries=return_carries,
            )

        if not self.bidirectional:
            return run(carry, backward=False)
        carry = Directions(None, None) if carry is None else carry
        (ahead, *forward), (back, *backward) = run(carry.forward, backward=False), run(carry.backward, backward=True)
        return merged(ahead, back, self.merge), *map(Directions, forward, backward)

    def _checked(self, axes: str, x, carry, lengths=None, reset=None, mask=None) -> tuple[jax.Array | None, ...]:
        """x, lengths, reset and mask as arrays with matching shapes; `axes` are those of x before a step's input."""
        name, sizes = f"Recurrent({self.cell_name!r})", self.cell.input_sizes(self.configs[0])
        masks = {"lengths_B": lengths, "reset_BT": reset, "mask_BT": mask}
        arrays = checked(name, sizes, **{f"x_{axes}{''.join(sizes)}": x}, **masks)
        if carry is not None:
            batch = arrays[0].shape[0]
            check_parts(name, carry, jax.eval_shape(lambda: self.init_carry(batch)))
        return arrays

    def step(self, x_BD: jax.Array, carry: tuple[Any, ...] | None = None) -> tuple[jax.Array, tuple[Any, ...]]:
        """One time step of all layers, for streaming: y [B, width] and the carry. Nothing is dropped.

        If x has no axis B, neither do y and the carry.

        Raises:
            UsageError: the layer is bidirectional; its second direction starts at the end of the sequence.
        """
        if self.bidirectional:
            raise UsageError("a bidirectional layer has no step: it needs the whole sequence")
        if self._unbatched(x_BD, axes=0):
            return without_batch(self.step(*with_batch((x_BD, carry))))
        x_BD, *_ = self._checked("B", x_BD, carry)
        carry = self.init_carry(x_BD.shape[0]) if carry is None else carry
        x, carries = x_BD.astype(self.dtype), []
        for layer, before in enumerate(carry):
            params = self._params(layer, backward=False)
            u = jax.tree.map(lambda leaf: leaf[:, 0], self.cell.project(params, x[:, None]))
            take = self.cell.step if self.noise is None else self._noisy_step
            after, y = take(params, self._wide(before), u)
            y = y.astype(self.dtype)
            x = x + y if self.residual and x.shape == y.shape else y
            carries.append(after)
        return x, tuple(carries)

    def _noisy_step(self, params, carry, u):
        return self.noise.step(self.cell, params, carry, u, None)


def merged(forward: jax.Array, backward: jax.Array, how: Merge) -> jax.Array:
    """Combines the outputs of both directions."""
    if how == "concat":
        return jnp.concatenate([forward, backward], axis=-1)
    total = forward + backward
    return total / 2 if how == "mean" else total


def _check(name, cell, merge, dropout, kind, num_layers) -> None:
    if cell.kind != "sequence":
        raise UsageError(f"cell {name!r} is of kind {cell.kind!r}; `Recurrent` needs kind 'sequence' (see `Tree`)")
    check_choice("merge", merge, Merge)
    check_choice("dropout_kind", kind, DropoutKind)
    check_value(Rate, dropout, "Recurrent dropout")
    check_sizes("Recurrent", num_layers=num_layers)
