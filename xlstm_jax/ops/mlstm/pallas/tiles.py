"""How the kernels cut a sequence: into chunks, and tiles inside a chunk, for each kernel by itself."""

import dataclasses

import jax.numpy as jnp

from xlstm_jax.errors import UsageError
from xlstm_jax.ops.kernels import LEAST, Launch, power_of_two


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tile(Launch):
    """Sizes of the work of one kernel's programs.

    Args:
        held, turn: steps that a program holds, and steps per iteration of its loop; kernels of states hold none.
        keys, values: features of q and k, and of v, per product.
        warps, stages, exact: see `ops.kernels.Launch`.

    Raises:
        UsageError: a size is not a power of two of at least 16.
    """

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
                raise UsageError(f"Tile({name}={size}) is not allowed; must be a power of two, at least {LEAST}")

    def pairs(self, chunk: int) -> int:
        """Pairs of steps of a chunk whose scores are computed: the causal half, in whole turns."""
        turns = (-(-(first + self.held) // self.turn) for first in range(0, chunk, self.held))
        return sum(self.held * self.turn * turn for turn in turns)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Tiles:
    """The tiles of all kernels.

    Args:
        chunk: steps between two states.
        states, outputs: of the forward kernels.
        state_gradients, q_gradient, k_gradient, v_gradient: of the backward kernels.

    Raises:
        UsageError: a kernel's `held` or `turn` does not divide the chunk.
    """

    chunk: int = 256
    states: Tile = Tile()
    outputs: Tile = Tile()
    state_gradients: Tile = Tile()
    q_gradient: Tile = Tile()
    k_gradient: Tile = Tile()
    v_gradient: Tile = Tile()

    def __post_init__(self):
        for kernel, tile in self.kernels().items():
            for name in ("held", "turn"):
                if self.chunk % (size := getattr(tile, name)):
                    raise UsageError(
                        f"Tiles(chunk={self.chunk}, {kernel}=Tile({name}={size})) is not allowed; {name} must divide "
                        "chunk"
                    )

    @classmethod
    def alike(cls, chunk: int, tile: Tile, **others: Tile) -> "Tiles":
        """The same tile for all kernels but those that are named."""
        return cls(chunk=chunk, **{name: others.get(name, tile) for name in KERNELS})

    def kernels(self) -> dict[str, Tile]:
        """The tile of each kernel, by its name."""
        return {name: getattr(self, name) for name in KERNELS}

    @property
    def keys(self) -> int:
        """What K must be a multiple of."""
        return max(tile.keys for tile in self.kernels().values())

    @property
    def values(self) -> int:
        """What V must be a multiple of."""
        return max(tile.values for tile in self.kernels().values())


KERNELS = tuple(field.name for field in dataclasses.fields(Tiles) if field.name != "chunk")


def choose(time: int, keys: int, values: int, dtype, chunk_size: int | None = None, exact: bool = True) -> Tiles:
    """Chooses tiles for T steps of K and V features; a `chunk_size` is rounded up to a multiple of 16.

    They fit an H200's registers and shared memory, as `tests/gpu` checks. Their speed was not measured on a GPU.
    """
    narrow = jnp.dtype(dtype).itemsize == 2
    chunk = min(chunk_size or (256 if narrow else 128), time)
    chunk = -(-chunk // LEAST) * LEAST
    inner = chunk & -chunk  # the largest power of two that divides the chunk
    if not narrow:
        # Exact float32 products run outside the tensor cores and hold their tiles in registers. No registers are
        # spilled up to V = 256 by products in tf32, whose tiles are twice as large as bfloat16's.
        sizes = {"keys": min(power_of_two(keys), 32), "values": min(power_of_two(values), 64), "turn": LEAST}
        if exact:
            return Tiles.alike(chunk, Tile(held=min(inner, 32), stages=1, **sizes))
        tile = Tile(held=min(inner, 64), warps=4, exact=False, **sizes)
        return Tiles.alike(chunk, tile, outputs=dataclasses.replace(tile, values=min(tile.values, 32)))

    def tile(held: int, turn: int, warps: int) -> Tile:
        sizes = {"keys": min(power_of_two(keys), 128), "values": min(power_of_two(values), 64 if keys > 256 else 128)}
        return Tile(held=min(inner, held), turn=min(inner, turn), warps=warps, **sizes)

    # A warp group of 4 warps computes 64 rows of a product by one instruction. 8 warps need 128 rows: of 64 rows, the
    # two groups would take half of the columns each, and compute all scores twice. The gradient kernels keep all of V
    # for the steps they hold and for those of a turn, so that 128 rows do not fit.
    states, outputs = tile(64, 64, 8), tile(128, 32 if keys > 256 else 64, 8)
    return Tiles.alike(chunk, tile(64, 32, 4), states=states, state_gradients=states, outputs=outputs)
