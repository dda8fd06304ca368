"""Runs blocks in sequence, optionally with rematerialisation and with a scan over repeated blocks."""

import functools
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from xlstm_jax.checks import check_parts
from xlstm_jax.sharding import ACTIVATIONS, constrain, parameter_axes

# What is saved for the backward pass in addition to a block's inputs; everything else is recomputed.
KEPT = {
    "full": jax.checkpoint_policies.nothing_saveable,
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
}


def rematerialised(block: Callable, remat: str, *, scanned: bool = False) -> Callable:
    """Wraps a block (`models.blocks.Block`) so that its backward pass needs less memory; values do not change.

    Args:
        block: called with (x, carry, reset=, lengths=, key=).
        remat: "none" returns the block itself; "full" saves only its inputs, "dots" also its products with weights.
        scanned: the block is the body of a scan, where XLA cannot merge the recomputation with the first computation.
            Elsewhere a barrier keeps them apart. XLA's CPU backend drops it before scheduling, so without a scan no
            memory is saved there.
    """
    if remat == "none":
        return block
    again = jax.checkpoint(
        lambda x, carry, masks, key: block(x, carry, **masks, key=key), policy=KEPT[remat], prevent_cse=not scanned
    )
    return lambda x, carry, *, key=None, **masks: again(x, carry, masks, key)


class Repeated(nnx.Module):
    """A group of blocks repeated several times and run by one scan. The program size does not depend on the repeats.

    Each parameter is stored for all repeats, [turns, ...]. Stacking in the training step instead would copy the
    parameters, and take gradients and updates apart again.

    Args:
        blocks: turns * `period` blocks. Those at the same place in the group differ only in parameter values.
        period: blocks per group.
    """

    def __init__(self, blocks: Sequence[nnx.Module], period: int):
        self.turns = len(blocks) // period
        self.stacked = nnx.List(_stacked(blocks[place::period]) for place in range(period))

    def blocks(self) -> Iterator[nnx.Module]:
        """Yields the blocks in order, each with its own parameters."""
        split = [nnx.split(block) for block in self.stacked]
        for turn in range(self.turns):
            for graphdef, state in split:
                yield nnx.merge(graphdef, _of_variables(functools.partial(_layer, turn=turn), state))

    def __call__(self, x_BTD, carry: Sequence[Any], keys: Sequence[Any], remat: str, masks) -> tuple[Any, list[Any]]:
        """Like `run_blocks`, with one carry and one key per block."""
        period, carry = len(self.stacked), self._alike(carry, x_BTD.shape[0])
        split = [nnx.split(block) for block in self.stacked]
        layers = list(zip(carry, keys, strict=True))
        inputs = [jax.tree.map(lambda *leaves: jnp.stack(leaves), *layers[place::period]) for place in range(period)]

        def turn(x_BTD, places):
            blocks = [nnx.merge(graphdef, state) for (graphdef, _), (state, *_) in zip(split, places, strict=True)]
            carry, keys = zip(*(rest for _, rest in places), strict=True)
            return _in_turn(blocks, x_BTD, carry, keys, remat, masks, scanned=True)

        states = [state for _, state in split]
        x_BTD, after = jax.lax.scan(turn, x_BTD, list(zip(states, inputs, strict=True)))
        return x_BTD, [jax.tree.map(lambda leaf, n=n: leaf[n], one) for n in range(self.turns) for one in after]

    def _alike(self, carry: Sequence[Any], batch: int) -> list[Any]:
        """Gives the carries at each place in the group the same structure, so that they can be stacked.

        If only some of them have None for a part, the part of `init_carry` replaces it.
        """
        carry, period = list(carry), len(self.stacked)
        for place in range(period):
            like = carry[place]
            mixed = len({jax.tree.structure(one) for one in carry[place::period]}) > 1
            if mixed:
                like = next(itertools.islice(self.blocks(), place, None)).init_carry(batch)
            for number in range(place, len(carry), period):
                check_parts(type(self.stacked[place]).__name__, carry[number], like, f"carry[{number}]")
                carry[number] = _filled(carry[number], like) if mixed else carry[number]
        return carry


def _filled(carry: Any, start: Any) -> Any:
    """Replaces parts of `carry` that are None with those of `start`."""
    return jax.tree.map(
        lambda part, own: own if part is None else part, carry, start, is_leaf=lambda part: part is None
    )


def _stacked(blocks: Sequence[nnx.Module]) -> nnx.Module:
    """One block with the parameters of all blocks stacked along a new first axis."""

    def stack(*variables: nnx.Variable) -> nnx.Variable:
        values = [variable.get_value() for variable in variables]
        axes = parameter_axes(values[0].shape, variables[0].get_metadata().get("axes"))
        return variables[0].replace(jnp.stack(values), axes=(None, *axes), stacked=True)

    return nnx.merge(nnx.graphdef(blocks[0]), _of_variables(stack, *map(nnx.state, blocks)))


def _layer(variable: nnx.Variable, turn: int) -> nnx.Variable:
    return variable.replace(variable.get_value()[turn], axes=variable.get_metadata()["axes"][1:], stacked=False)


def _of_variables(function: Callable, *states: nnx.State) -> nnx.State:
    return jax.tree.map(function, *states, is_leaf=lambda node: isinstance(node, nnx.Variable))


def scannable(blocks: Sequence[nnx.Module], kinds: Sequence[Any]) -> Iterator[nnx.Module]:
    """The blocks, with each group that repeats (`repetitions` of `kinds`, one per block) replaced by one `Repeated`."""
    for start, period, turns in repetitions(kinds):
        here = blocks[start : start + period * turns]
        yield from [Repeated(here, period)] if turns > 1 else here


def single(blocks: Sequence[nnx.Module]) -> list[nnx.Module]:
    """The single blocks; the inverse of `scannable`."""
    return list(itertools.chain(*(block.blocks() if isinstance(block, Repeated) else [block] for block in blocks)))


def run_blocks(
    blocks: Sequence[nnx.Module],
    x_BTD: jax.Array,
    carry: Sequence[Any],
    keys: Sequence[jax.Array | None],
    *,
    remat: str = "none",
    **masks: jax.Array | None,
) -> tuple[jax.Array, tuple[Any, ...]]:
    """Returns x [B, T, D] after the last block, and the carry of each block.

    Args:
        blocks: any blocks, including `Repeated`.
        x_BTD: input of the first block.
        carry, keys: one entry for each of `single(blocks)`.
        remat: see `rematerialised`.
        **masks: `reset` and `lengths`, the same for all blocks.
    """
    after = []
    for block in blocks:
        start = len(after)
        if isinstance(block, Repeated):
            here = slice(start, start + block.turns * len(block.stacked))
            x_BTD, carries = block(x_BTD, carry[here], keys[here], remat, masks)
        else:
            here = slice(start, start + 1)
            x_BTD, carries = _in_turn([block], x_BTD, carry[here], keys[here], remat, masks)
        after += carries
    return x_BTD, tuple(after)


def repetitions(kinds: Sequence[Any]) -> Iterator[tuple[int, int, int]]:
    """Yields (start, period, turns) that cover the sequence: from each start, the longest run of a repeated group."""
    start = 0
    while start < len(kinds):
        period, turns = 1, 1
        for length in range(1, (len(kinds) - start) // 2 + 1):
            group, count = kinds[start : start + length], 1
            while kinds[start + count * length : start + (count + 1) * length] == group:
                count += 1
            if count > 1 and count * length > turns * period:
                period, turns = length, count
        yield start, period, turns
        start += period * turns


def _in_turn(blocks, x_BTD, carry, keys, remat: str, masks, *, scanned: bool = False) -> tuple[jax.Array, list[Any]]:
    after = []
    for block, before, key in zip(blocks, carry, keys, strict=True):
        x_BTD, own = rematerialised(block, remat, scanned=scanned)(x_BTD, before, **masks, key=key)
        x_BTD = constrain(x_BTD, ACTIVATIONS)
        after.append(own)
    return x_BTD, after
