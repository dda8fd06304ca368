"""Packages of users that add cells, blocks, tasks, data sources: imported before a name is looked up."""

import functools
import importlib
import importlib.metadata
import sys
from pathlib import Path

from xlstm_jax.config import listed
from xlstm_jax.errors import UsageError, one_line, shown

GROUP = "xlstm_jax.plugins"  # of entry points


def load_plugins(names: str = "") -> None:
    """Imports the installed packages with an entry point in `xlstm_jax.plugins`, then the named modules.

    Args:
        names: modules with commas between them, such as "my_package.cells,other.module": what `config.plugins` holds.
            Modules in the current folder are found too.

    Raises:
        UsageError: a module that does not exist, or that raises while it is imported.
    """
    _installed()
    if not isinstance(names, str):
        raise UsageError(f"plugins {shown(names)} is not allowed; give module names with commas between them")
    for name in listed(names):
        _import(name, f"plugin {shown(name)}")


@functools.cache
def _installed() -> None:
    for point in importlib.metadata.entry_points(group=GROUP):
        _import(point.value.partition(":")[0], f"plugin {shown(point.name)} of package {point.dist.name}")


def _import(name: str, what: str) -> None:
    here = str(Path.cwd())
    if here not in sys.path and "" not in sys.path:
        sys.path.append(here)
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name and (name == error.name or name.startswith(f"{error.name}.")):
            raise UsageError(
                f"{what} is not installed (no module {error.name!r}); install its package, or set PYTHONPATH"
            ) from error
        raise UsageError(
            f"{what} cannot be imported: {one_line(error)}; fix it, or remove it from the plugins"
        ) from error
    except Exception as error:  # whatever the plugin's own code raises
        kind = type(error).__name__
        raise UsageError(
            f"{what} cannot be imported: {kind}: {one_line(error)}; fix it, or remove it from the plugins"
        ) from error
