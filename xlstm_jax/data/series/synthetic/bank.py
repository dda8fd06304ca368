"""A bank of synthetic series, drawn once and kept in the cache folder."""

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from xlstm_jax.console import plain_console
from xlstm_jax.data.batches import generator
from xlstm_jax.data.download import cache_dir
from xlstm_jax.data.series.synthetic import kernel_synth, processes, seasons
from xlstm_jax.errors import one_line
from xlstm_jax.files import replacing

# What draws series, and how often.
KINDS: dict[Callable[[np.random.Generator, int], np.ndarray], float] = {
    kernel_synth.kernel_synth: 0.25,
    seasons.seasonal: 0.25,
    processes.smoothing: 0.1,
    processes.arma: 0.08,
    processes.random_walk: 0.08,
    processes.episodes: 0.06,
    processes.heavy: 0.06,
    processes.waves: 0.05,
    processes.switching: 0.04,
    processes.counts: 0.03,
}
QUIET_SECONDS = 10.0  # between progress lines if the output is not a terminal
LARGEST = 50.0  # of a standardised value
FEW = 2000  # series that are drawn anew each time, in a second or two


def draw(rng: np.random.Generator, steps: int) -> np.ndarray:
    """[T] float32: one series of a random kind, standardised."""
    kinds, shares = list(KINDS), np.array(list(KINDS.values()))
    while True:
        values_T = kinds[rng.choice(len(kinds), p=shares / shares.sum())](rng, steps)
        spread = values_T.std()
        if np.isfinite(spread) and spread > 1e-8:
            standard_T = (values_T - values_T.mean()) / spread
            return np.clip(standard_T, -LARGEST, LARGEST).astype(np.float32)


def bank(size: int, steps: int, seed: int) -> np.ndarray:
    """[size, T] float32, standardised: series number n is a pure function of the seed, n and T.

    The first call draws them, 1 to 2 ms each, and keeps them in the cache folder; they are memory-mapped. Other
    options, or another version of this package, make another file.
    """
    if size <= FEW:
        return _drawn(size, steps, seed, quiet=True)
    console = plain_console(stderr=True)
    path = cache_dir() / "synthetic" / f"{_fingerprint(size, steps, seed)}.npy"
    found = _load(path, (size, steps))
    if found is not None:
        return found
    values_NT = _drawn(size, steps, seed)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            np.save(temporary, values_NT)
    except OSError as error:
        console.print(
            f"cannot save synthetic series in {path.parent} ({one_line(error)}); keeping them in memory "
            "(set XLSTM_JAX_CACHE to another folder)"
        )
        return values_NT
    found = _load(path, (size, steps))
    return values_NT if found is None else found


def _drawn(size: int, steps: int, seed: int, quiet: bool = False) -> np.ndarray:
    series = (draw(generator(seed, number), steps) for number in range(size))
    values_NT = np.empty((size, steps), np.float32)
    for number, values_T in enumerate(series if quiet else _shown(series, size)):
        values_NT[number] = values_T
    return values_NT


def _shown(series: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """The series, with a progress bar on a terminal, else with a line now and then."""
    console = plain_console(stderr=True)
    columns = TextColumn("drawing synthetic series"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn()
    last = time.monotonic()
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=size)
        for number, values_T in enumerate(series):
            yield values_T
            bar.update(task, completed=number + 1)
            if not console.is_terminal and time.monotonic() - last > QUIET_SECONDS:
                last = time.monotonic()
                console.print(f"drawing synthetic series: {(number + 1) / size:.0%}")


def _fingerprint(size: int, steps: int, seed: int) -> str:
    digest = hashlib.sha256(f"{size} {steps} {seed} {np.__version__}".encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:32]


def _load(path: Path, shape: tuple[int, int]) -> np.ndarray | None:
    try:
        values_NT = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return values_NT.view(np.ndarray) if values_NT.shape == shape and values_NT.dtype == np.float32 else None
