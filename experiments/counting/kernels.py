"""What a kernel costs on a card: its products, the bytes between memory and cache, and how full the card is."""

import collections
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.counting.cards import Card
from xlstm_jax.ops.kernels import Block, Launched

REGISTERS = 255  # most that a thread can have


class Cost(NamedTuple):
    """Of one kernel on one card."""

    name: str
    programs: int
    waves: float  # programs that run one after another on the fullest unit
    flops: int
    bytes: float
    products_ms: float  # of the matrix products at the card's peak, with the last wave as long as the others
    memory_ms: float

    @property
    def bound_ms(self) -> float:
        """The kernel takes at least this time."""
        return max(self.products_ms, self.memory_ms)


def cost(kernel: Launched, card: Card) -> Cost:
    """The cost of a kernel.

    Programs run in order, as many at once as registers allow if each thread has the most it can have. Those that run at
    once read a block from memory once. A block that was read earlier, and is still in the cache, is not read again; the
    cache drops blocks that were not used for the longest time. What is written is written once.
    """
    programs, at_once = math.prod(kernel.grid), card.units * _resident(kernel, card)
    waves = programs / at_once
    product = _product_dtype(kernel)
    products_ms = 1e3 * kernel.flops / card.flops[product] * math.ceil(waves) / waves
    moved = bytes_moved(kernel, at_once, card.cache)
    return Cost(kernel.name, programs, waves, kernel.flops, moved, products_ms, 1e3 * moved / card.bandwidth)


def _resident(kernel: Launched, card: Card) -> int:
    """Programs that a unit runs at once."""
    return max(1, card.registers // (REGISTERS * 32 * kernel.how.warps))


def _product_dtype(kernel: Launched) -> str:
    """Of the kernel's products: the narrowest of its floats, where float32 is tf32 unless products are exact."""
    sizes = [block.array.dtype.itemsize for block in kernel.blocks if block.array.dtype.kind in "fV"]
    if min(sizes, default=4) == 2:
        return "bfloat16"
    return "float32" if kernel.how.exact else "tf32"


def bytes_moved(kernel: Launched, at_once: int, capacity: float) -> float:
    """Bytes between the device's memory and its cache of that many bytes, see `cost`."""
    programs = math.prod(kernel.grid)
    # The first axis of a grid is the fastest on a GPU.
    ids = [axis.ravel(order="F") for axis in np.indices(kernel.grid, dtype=np.int32)]
    blocks = [(_places(block, ids), _size(block), block.written) for block in kernel.blocks]
    cached: collections.OrderedDict = collections.OrderedDict()
    held, moved = 0, 0
    for start in range(0, programs, at_once):
        for number, (places, size, written) in enumerate(blocks):
            for place in np.unique(places[start : start + at_once]).tolist():
                if (number, place) in cached:
                    cached.move_to_end((number, place))
                    continue
                cached[number, place], held, moved = size, held + size, moved + size * (not written)
        while held > capacity and cached:
            held -= cached.popitem(last=False)[1]
    return moved + sum(size * len(np.unique(places)) for places, size, written in blocks if written)


def _places(block: Block, ids: list[np.ndarray]) -> np.ndarray:
    """A number for the block that each program has; equal numbers are equal blocks."""

    @jax.jit
    @jax.vmap
    def index(*ids):
        return jnp.stack([jnp.asarray(one, jnp.int32) for one in block.spec.index_map(*ids)])

    places = np.asarray(index(*ids), np.int64)
    counts = places.max(axis=0) + 1
    return functools.reduce(lambda number, axis: number * counts[axis] + places[:, axis], range(places.shape[1]), 0)


def _size(block: Block) -> int:
    """Bytes of a block."""
    return math.prod(size or 1 for size in block.spec.block_shape) * block.array.dtype.itemsize
