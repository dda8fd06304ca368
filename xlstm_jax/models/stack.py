"""Blocks run one after the other: computed again in the backward pass, and equal ones by one scan, where asked for."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.sharding import ACTIVATIONS, constrain

# What the backward pass finds kept of a block, beside its inputs; all else is computed again.
KEPT = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def rematerialised(block: Callable, remat: str, *, scanned: bool = False) -> Callable:
    """A block (`models.blocks.Block`) of the same values and gradients, its backward pass in less memory.

    Args:
        block: called with (x, carry, reset=, lengths=, key=).
        remat: "none" gives the block itself; "full" keeps its inputs alone, "dots" its products with weights too.
        scanned: it is the body of a scan, where XLA cannot merge the two computations. Elsewhere a barrier keeps them
            apart, which XLA's CPU backend drops before it orders the operations: unrolled, no memory is saved there.
    """
    if remat == "none":
        return block
    again = jax.checkpoint(
        lambda x, carry, masks, key: block(x, carry, **masks, key=key), policy=KEPT[remat], prevent_cse=not scanned
    )
    return lambda x, carry, *, key=None, **masks: again(x, carry, masks, key)


def run_blocks(
    blocks: Sequence[nnx.Module],
    x_BTD: jax.Array,
    carry: Sequence[Any],
    keys: Sequence[jax.Array | None],
    *,
    remat: str = "none",
    scan: bool = False,
    **masks: jax.Array | None,
) -> tuple[jax.Array, tuple[Any, ...]]:
    """x [B, T, D] behind the last block, and each block's carry.

    Args:
        blocks: of any kinds.
        x_BTD: what the first one reads.
        carry, keys: one entry a block, as a block takes them.
        remat: see `rematerialised`.
        scan: one copy of each repeated block or group of blocks stands in the program, run by `lax.scan` over their
            stacked parameters, which are copied for it. XLA's CPU backend compiles equal kernels once anyway, and each
            layer's cut from the stacked gradients anew: there it takes longer to compile (`--suite=depth`).
        **masks: `reset` and `lengths`, for all blocks alike.
    """
    blocks, after = list(blocks), []
    for start, period, repeats in repetitions(_forms(blocks)) if scan else [(0, len(blocks), 1)]:
        here = slice(start, start + period * repeats)
        layers = list(zip(blocks[here], carry[here], keys[here], strict=True))
        if repeats > 1:
            x_BTD, carries = _scanned(layers, period, x_BTD, remat, masks)
        else:
            x_BTD, carries = _in_turn(layers, x_BTD, remat, masks)
        after += carries
    return x_BTD, tuple(after)


def repetitions(forms: Sequence[Any]) -> Iterator[tuple[int, int, int]]:
    """(start, period, repeats) that cover the sequence: from each start the longest stretch that repeats a group."""
    start = 0
    while start < len(forms):
        period, repeats = 1, 1
        for length in range(1, (len(forms) - start) // 2 + 1):
            group, count = forms[start : start + length], 1
            while forms[start + count * length : start + (count + 1) * length] == group:
                count += 1
            if count > 1 and count * length > repeats * period:
                period, repeats = length, count
        yield start, period, repeats
        start += period * repeats


def _forms(blocks: Sequence[nnx.Module]) -> list[int]:
    """A number for each block, equal where blocks differ in the values of their parameters alone."""
    forms = []
    for block in blocks:
        graphdef, state = nnx.split(block)
        forms.append((graphdef, jax.tree.map(jax.typeof, nnx.to_pure_dict(state))))
    return [forms.index(form) for form in forms]


def _in_turn(layers, x_BTD, remat: str, masks, *, scanned: bool = False) -> tuple[jax.Array, list[Any]]:
    carries = []
    for block, before, key in layers:
        x_BTD, after = rematerialised(block, remat, scanned=scanned)(x_BTD, before, **masks, key=key)
        x_BTD = constrain(x_BTD, ACTIVATIONS)
        carries.append(after)
    return x_BTD, carries


def _scanned(layers, period: int, x_BTD, remat: str, masks) -> tuple[jax.Array, list[Any]]:
    """The group of the first `period` layers, again and again with the parameters, carries and keys of all layers."""
    graphdefs = [nnx.split(block)[0] for block, _, _ in layers[:period]]
    values = [(nnx.to_pure_dict(nnx.split(block)[1]), before, key) for block, before, key in layers]
    places = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *values[place::period]) for place in range(period)]

    def group(x_BTD, places):
        merged = [
            (nnx.merge(graphdef, place[0]), *place[1:]) for graphdef, place in zip(graphdefs, places, strict=True)
        ]
        return _in_turn(merged, x_BTD, remat, masks, scanned=True)

    x_BTD, stacked = jax.lax.scan(group, x_BTD, places)
    turns = range(len(layers) // period)
    return x_BTD, [jax.tree.map(lambda leaf, turn=turn: leaf[turn], one) for turn in turns for one in stacked]
