"""Available memory, for the error message of a program that ran out of it."""

import contextlib
import os
import re
import sys
from pathlib import Path

from xlstm_jax.errors import one_line

# Memory limits of the process's container: control groups version 2, and version 1.
LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


def asked_for(error: BaseException) -> str:
    """What could not be allocated, in the library's words without its error codes."""
    words = re.sub(r"^[A-Z_]+: (Error dispatching computation: )?", "", one_line(error)).removesuffix(".")
    return re.sub(r"\d{7,}(?= bytes)", lambda match: _gigabytes(int(match[0])), words).replace("GB bytes", "GB")


def what_there_is(error: BaseException) -> str:
    """How much memory this process may use and how much is free: the device's for errors of XLA, else the machine's."""
    stats = _device_stats() if isinstance(error, RuntimeError) else None
    if stats is not None:
        name, stats = stats
        free = stats["bytes_limit"] - stats["bytes_in_use"]
        return (
            f"of {name} this process may use {_gigabytes(stats['bytes_limit'])}, of which {_gigabytes(free)} are free"
        )
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in LIMITS:
        with contextlib.suppress(OSError, ValueError):  # not there, or "max"
            total = min(total, int(Path(path).read_text()))
    with contextlib.suppress(ImportError):
        import resource

        soft = resource.getrlimit(resource.RLIMIT_AS)[0]
        total = min(total, soft) if soft != resource.RLIM_INFINITY else total
    there = f"this process may use {_gigabytes(total)}"
    with contextlib.suppress(OSError):
        found = re.search(r"MemAvailable: +(\d+) kB", Path("/proc/meminfo").read_text())
        there += f", of which at most {_gigabytes(min(total, 1024 * int(found[1])))} are free" if found else ""
    return there


def _device_stats():
    """Returns (name, statistics) of the default device; None for the CPU, which has no memory of its own."""
    if "jax" not in sys.modules:
        return None
    import jax

    device = jax.devices()[0]
    stats = device.memory_stats()
    return (device.device_kind, stats) if stats and {"bytes_limit", "bytes_in_use"} <= set(stats) else None


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB"
