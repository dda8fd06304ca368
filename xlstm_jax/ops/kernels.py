"""Helpers shared by the Pallas kernels: launch (compiled for CUDA, interpreted on CPU) and products of tiles."""

import contextlib
import contextvars
import dataclasses
import functools
import importlib.util
import math
import warnings
from collections.abc import Iterator
from typing import Any, ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jax.experimental import pallas as pl
from jax.extend.core import Primitive
from jax.interpreters import mlir

from xlstm_jax.autodiff import in_forward_mode
from xlstm_jax.errors import UsageError
from xlstm_jax.sharding import varying

# From jax 0.11, Pallas warns at each lowering that this GPU backend will be replaced. requirements.txt excludes the
# versions without it. Pytest's filters take precedence over this one, so pyproject.toml repeats it.
warnings.filterwarnings("ignore", message="The Pallas Triton backend is deprecated", category=DeprecationWarning)

TRITON = "jax.experimental.pallas.triton"
# The oldest compute capability for which Pallas compiles with Triton.
AMPERE = 8.0
# The smallest tile that a GPU's matrix instructions accept.
LEAST = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Launch:
    """How a kernel runs: warps per program, pipeline stages of loads, and exact or tf32 products of float32."""

    warps: int = 4
    stages: int = 1
    exact: bool = True
    platform: ClassVar[str] = "cuda"
    races: ClassVar[bool] = False

    def options(self, interpret: bool) -> dict[str, Any]:
        """Of `pallas_call`."""
        from jax.experimental.pallas import triton

        params = triton.CompilerParams(num_warps=self.warps, num_stages=self.stages)
        return {"interpret": interpret, "compiler_params": params}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TPULaunch:
    """How a kernel runs on a TPU: the programs along the last axis of its grid one after another, others in any order.

    Args:
        scratch: shapes of what a program keeps on the chip for the next one along that axis, float32.
        exact: exact products of float32; otherwise those of bfloat16.
        races: interpret the kernel with its copies, on CPU alone, and raise where one races with a program.
    """

    scratch: tuple[tuple[int, ...], ...] = ()
    exact: bool = True
    races: bool = False
    platform: ClassVar[str] = "tpu"

    def options(self, interpret: bool) -> dict[str, Any]:
        """Of `pallas_call`."""
        from jax.experimental.pallas import tpu

        return {
            "interpret": tpu.InterpretParams(detect_races=True) if self.races else interpret,
            "scratch_shapes": [tpu.VMEM(shape, jnp.float32) for shape in self.scratch],
            "compiler_params": tpu.CompilerParams(dimension_semantics=("parallel", "parallel", "arbitrary")),
        }


PLUGINS = {"cuda": ("jax_cuda12_plugin", "jax_cuda13_plugin"), "tpu": ("libtpu",)}


@functools.cache
def is_possible(platform: str) -> bool:
    """Whether jax can compile for "cuda" or "tpu" here; otherwise, programs need not contain the kernels for it."""
    return any(importlib.util.find_spec(plugin) for plugin in PLUGINS[platform])


def missing() -> str:
    """Why no kernel runs on this machine, whatever its shapes; empty if kernels run."""
    if importlib.util.find_spec(TRITON) is None:
        return f"needs a jax whose Pallas compiles with Triton (requirements.txt); this is jax {jax.__version__}"
    if (found := _capability()) and found < AMPERE:
        return f"needs a GPU of compute capability {AMPERE} or more (Ampere); this one has {found}"
    return ""


@functools.cache
def _capability() -> float | None:
    """The compute capability of this machine's GPUs; None without a GPU."""
    try:
        return float(jax.local_devices(backend="cuda")[0].compute_capability)
    except RuntimeError:
        return None


def where_compiled(kernel, other, *args, platforms: tuple[str, ...] = ("cuda",)):
    """`kernel(*args)` in programs for these platforms; `other(*args)` elsewhere and under `autodiff.forward_mode`.

    The choice is made when the program is lowered.
    """
    there = {platform: kernel for platform in platforms if is_possible(platform)}
    if in_forward_mode() or not there:
        return other(*args)
    return jax.lax.platform_dependent(*args, **there, default=other)


class Block(NamedTuple):
    """What each program of a kernel reads or writes of an array."""

    spec: pl.BlockSpec
    array: jax.ShapeDtypeStruct
    written: bool


class Launched(NamedTuple):
    """A kernel in a program."""

    name: str
    grid: tuple[int, ...]
    blocks: tuple[Block, ...]
    how: Launch | TPULaunch
    flops: int


_recorded: contextvars.ContextVar[list[Launched] | None] = contextvars.ContextVar("recorded", default=None)


@contextlib.contextmanager
def recorded() -> Iterator[list[Launched]]:
    """Collects the kernels of programs that are traced in this context, in their order."""
    token = _recorded.set([])
    try:
        yield _recorded.get()
    finally:
        _recorded.reset(token)


def _blocks(specs, arrays, written: bool) -> list[Block]:
    """A block for each array of a tree, whose specs may be those of whole branches' prefix."""
    flat = jax.tree.broadcast(specs, arrays, is_leaf=lambda node: isinstance(node, pl.BlockSpec))
    pairs = zip(jax.tree.leaves(flat), jax.tree.leaves(arrays), strict=True)
    return [Block(spec, jax.ShapeDtypeStruct(array.shape, array.dtype), written) for spec, array in pairs]


def launch(
    kernel,
    name: str,
    grid: tuple[int, ...],
    in_specs,
    out_specs,
    out_shape,
    how: Launch | TPULaunch,
    *args,
    flops: int = 0,
):
    """Returns the kernel's outputs. The same program is compiled for `how.platform` and interpreted on CPU.

    `flops` are those of all matrix products of all programs, for `recorded` and for XLA's cost analysis.

    Raises:
        UsageError: lowered for another platform, or for CPU inside `jax.shard_map` with `check_vma=True`.
    """
    blocks = (*_blocks(in_specs, list(args), False), *_blocks(out_specs, out_shape, True))
    if (collected := _recorded.get()) is not None:
        collected.append(Launched(name, grid, blocks, how, flops))
    # Each array once; how often programs read it from memory, and not from a cache, depends on the device.
    accessed = sum(math.prod(array.shape) * array.dtype.itemsize for _, array, _ in blocks)
    # A kernel's outputs vary over the same mesh axes as its inputs.
    args = varying(args)
    (of_args, *_) = (jax.typeof(a).manual_axis_type for a in jax.tree.leaves(args))
    out_shape = jax.tree.map(lambda like: like.update(manual_axis_type=of_args), out_shape)

    def run(interpret: bool, *args):
        return pl.pallas_call(
            kernel,
            name=name,
            grid=grid,
            in_specs=in_specs,
            out_specs=out_specs,
            out_shape=out_shape,
            cost_estimate=pl.CostEstimate(flops=flops, transcendentals=0, bytes_accessed=accessed),
            **how.options(interpret),
        )(*args)

    def refuse(*args):
        nothing = _elsewhere.bind(kernel=name, platform=how.platform.upper())
        outputs = tuple(out_shape) if isinstance(out_shape, list) else out_shape  # as `pallas_call` returns them
        return varying(jax.tree.map(lambda like: jnp.full(like.shape, nothing.astype(like.dtype)), outputs), args)

    # Inside `jax.shard_map`, jax's kernel interpreter fails the check of what varies over the mesh.
    cpu = refuse if of_args.varying else functools.partial(run, True)
    if how.races:  # its callbacks have effects, which a choice by platform cannot have
        return run(True, *args)
    compiled = {how.platform: functools.partial(run, False)}
    return jax.lax.platform_dependent(*args, cpu=cpu, **compiled, default=refuse)


# Placeholder on platforms without kernels. It raises when lowered: the platform is not known before.
_elsewhere = Primitive("kernel_elsewhere")
_elsewhere.def_abstract_eval(lambda *, kernel, platform: jax.core.ShapedArray((), jnp.float32))


def _refuse(context, *, kernel, platform):
    platforms = ", ".join(context.module_context.platforms)
    if platforms == "cpu":
        raise UsageError(
            f"kernel {kernel!r} cannot be interpreted on CPU inside jax.shard_map with check_vma=True; "
            "pass check_vma=False, or do not name an implementation"
        )
    raise UsageError(
        f"kernel {kernel!r} is compiled for {platform} and interpreted on CPU; it does not run on {platforms}"
    )


mlir.register_lowering(_elsewhere, _refuse)


def product(a: jax.Array, b: jax.Array, how: Launch, *, trans_a: bool = False, trans_b: bool = False) -> jax.Array:
    """The product a b of two tiles of one dtype, in float32; float64 stays float64 (interpreted, in tests)."""
    from jax.experimental.pallas import triton

    if a.dtype == jnp.float64:
        return jnp.dot(a.T if trans_a else a, b.T if trans_b else b)
    precision = jax.lax.Precision.HIGHEST if how.exact and a.dtype == jnp.float32 else None
    return triton.dot(a, b, trans_a=trans_a, trans_b=trans_b, precision=precision)


def padded(a: jax.Array, axis: int, size: int) -> jax.Array:
    """Pads an axis with zeros at its end, up to a multiple of `size`."""
    width = [(0, 0)] * a.ndim
    width[axis] = 0, -a.shape[axis] % size
    return jnp.pad(a, width) if width[axis][1] else a


def power_of_two(size: int) -> int:
    """The smallest power of two that is at least `size` and at least `LEAST`."""
    return max(LEAST, 1 << (size - 1).bit_length())
