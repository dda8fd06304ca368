"""The registry of benchmark suites, and what they share."""

import os
from collections.abc import Callable

from experiments.timing import Case, Stopped
from xlstm_jax.registry import Registry

# A suite makes its cases; `tiny` asks for sizes that finish in seconds, to test the suite itself.
SUITES: Registry[Callable[[bool], list[Case]]] = Registry("suite", package="experiments.suites")


def compiled_facts(step, *args) -> float:
    """MB of a jitted function's temporaries; `Stopped` where they would take half of the machine's memory."""
    memory_mb = step.lower(*args).compile().memory_analysis().temp_size_in_bytes / 1e6
    there_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e6
    if memory_mb > there_mb / 2:
        raise Stopped(f"needs {memory_mb / 1e3:,.0f} GB")
    return memory_mb
