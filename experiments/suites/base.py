"""The registry of benchmark suites."""

from collections.abc import Callable

from experiments.timing import Case
from xlstm_jax.registry import Registry

# A suite makes its cases; `tiny` asks for sizes that finish in seconds, to test the suite itself.
SUITES: Registry[Callable[[bool], list[Case]]] = Registry("suite", package="experiments.suites")
