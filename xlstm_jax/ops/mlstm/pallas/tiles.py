"""How the kernels cut a sequence: into chunks, and tiles inside a chunk."""

import dataclasses

import jax.numpy as jnp

from xlstm_jax.errors import UsageError
from xlstm_jax.ops.kernels import LEAST, Launch, power_of_two


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiles(Launch):
    """Sizes of the kernels' work.

    Args:
        chunk: steps between two states.
        held, turn: steps that a program holds, and steps per iteration of its loop.
        keys, values: features of q and k, and of v, per product.
        warps, stages, exact: see `ops.kernels.Launch`.

    Raises:
        UsageError: a tile that is not a power of two of at least 16, or does not divide the chunk.
    """

    chunk: int = 256
    held: int = 64
    turn: int = 64
    keys: int = 128
    values: int = 128
    warps: int = 8
    stages: int = 2

    def __post_init__(self):
        for name in ("held", "turn", "keys", "values"):
            size = getattr(self, name)
            if size < LEAST or size & (size - 1):
                raise UsageError(f"Tiles({name}={size}) is not allowed; must be a power of two, at least {LEAST}")
        for name in ("held", "turn"):
            size = getattr(self, name)
            if self.chunk % size:
                raise UsageError(f"Tiles(chunk={self.chunk}, {name}={size}) is not allowed; {name} must divide chunk")


def choose(time: int, keys: int, values: int, dtype, chunk_size: int | None = None, exact: bool = True) -> Tiles:
    """Chooses tiles for T steps of K and V features; a `chunk_size` is rounded up to a multiple of 16.

    They fit an H200's registers and shared memory, as `tests/gpu` checks. Their speed was not measured on a GPU.
    """
    narrow = jnp.dtype(dtype).itemsize == 2
    chunk = min(chunk_size or (256 if narrow else 128), time)
    chunk = -(-chunk // LEAST) * LEAST
    inner = chunk & -chunk  # the largest power of two that divides the chunk
    if not narrow and not exact:
        # No registers are spilled up to V = 256; tf32's tiles are twice as large as bfloat16's.
        sizes = {"keys": min(power_of_two(keys), 32), "values": min(power_of_two(values), 64)}
        return Tiles(chunk=chunk, held=min(inner, 64), turn=LEAST, **sizes, exact=False)
    if not narrow:
        # Exact float32 products run outside the tensor cores and hold their tiles in registers.
        return Tiles(
            chunk=chunk,
            held=min(inner, 32),
            turn=LEAST,
            keys=min(power_of_two(keys), 32),
            values=min(power_of_two(values), 64),
            stages=1,
        )
    # The gradient kernels keep all of V for the steps they hold and for those of one loop iteration.
    return Tiles(
        chunk=chunk,
        held=min(inner, 64),
        turn=min(inner, 32 if values > 256 else 64),
        keys=min(power_of_two(keys), 128),
        values=min(power_of_two(values), 64 if keys > 256 else 128),
    )
