"""The registry of benchmark suites, and helpers for suites that time JAX functions."""

import functools
import os
import pathlib
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

from experiments.benching.timing import Case, Facts, Stopped
from xlstm_jax.registry import Registry

# A suite returns its cases. With `tiny`, their sizes finish in seconds, to test the suite itself.
SUITES: Registry[Callable[[bool], list[Case]]] = Registry("suite", package="experiments.suites")
PASSES = ("forward", "forward + backward")
ALPHABET = "".join(chr(code) for code in range(33, 98))  # 65 characters, as in Tiny Shakespeare


def one_pass(which: str, run: Callable):
    """Returns (dy, *args) -> run(*args), or the gradients of sum(run(*args) dy) with respect to `args`; jitted."""
    import jax

    def step(dy, *args):
        if which == PASSES[0]:
            return run(*args)
        y, pullback = jax.vjp(run, *args)
        return pullback(dy.astype(y.dtype))

    return jax.jit(step)


def jax_case(
    group: str,
    name: str,
    run: Callable,
    inputs: Callable[[int], Sequence[np.ndarray]],
    *,
    which: str,
    tokens: int,
    size: int,
    error: Callable[[], float] | None = None,
    devices: int = 1,
) -> Case:
    """A case for one pass of `run(*args)` with `inputs(size) = (dy, *args)`, their first axes sharded over `devices`.

    Its facts are the temporary memory of the compiled program, and `error()`.
    """
    import jax

    step = one_pass(which, run)

    def once():
        return jax.block_until_ready(step(*_placed(inputs, size, devices)))

    def facts():
        memory = compiled_facts(step, *_placed(inputs, size, devices))
        return Facts(memory) if error is None else Facts(memory, error())

    return Case(group, name, once, tokens, size, facts)


@functools.lru_cache(maxsize=4)
def _placed(inputs: Callable[[int], Sequence[np.ndarray]], size: int, devices: int):
    """Places the arrays once for all cases of a group. The cache is small, because long sequences fill the memory."""
    import jax
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    mesh = Mesh(np.array(jax.devices()[:devices]), ("first",))
    return jax.device_put(list(inputs(size)), NamedSharding(mesh, PartitionSpec("first")))


def compiled_facts(step, *args) -> float:
    """MB of a jitted function's temporaries. Raises `Stopped` if it needs more than half of the device's memory."""
    import jax

    memory = step.lower(*args).compile().memory_analysis()
    needed = memory.temp_size_in_bytes + memory.argument_size_in_bytes + memory.output_size_in_bytes
    there = (jax.devices()[0].memory_stats() or {}).get("bytes_limit")
    if needed > (there or os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")) / 2:
        raise Stopped(f"needs {needed / 1e9:,.0f} GB")
    return memory.temp_size_in_bytes / 1e6


def on_random_text(config):
    """Returns the `Parts` of a config on 50,000 random characters, and its first batch."""
    from xlstm_jax.train.build import build

    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "text.txt"
        random = np.random.default_rng(0)
        path.write_text("".join(ALPHABET[code] for code in random.integers(0, len(ALPHABET), 50_000)))
        config.data.path = str(path)
        parts = build(config.to_dict())
        return parts, next(iter(parts.task.train_batches(seed=0)))


def compared(which: str, run: Callable, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """The array whose error is reported: the outputs of one pass, or the gradient of its first argument, as float64."""
    result = one_pass(which, run)(*arrays)
    return np.asarray(result[0] if isinstance(result, tuple) else result, np.float64)


def in_float64(which: str, run: Callable, arrays: Sequence[np.ndarray]) -> np.ndarray:
    """`compared`, computed in float64 throughout."""
    import jax

    with jax.enable_x64(True):
        return compared(which, run, [array.astype(np.float64) for array in arrays])


def relative_error(got: np.ndarray, wanted: np.ndarray) -> float:
    """||got - wanted|| / ||wanted||."""
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))
