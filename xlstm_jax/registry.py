"""Registries of interchangeable parts. A part registers itself; users select it by name."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

from xlstm_jax.errors import UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps names to parts. An unknown name raises `UsageError` with the list of known names.

    Args:
        kind: what is registered, for messages ("cell", "task").
        package: the package of the parts. Its modules are imported on the first lookup, so a new file in the package
            is found without editing a list.
    """

    def __init__(self, kind: str, package: str | None = None):
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}

    def register(self, *names: str) -> Callable[[T], T]:
        """Decorator that registers its target under each name.

        Raises:
            ValueError: another part has the name already.
        """

        def decorate(entry: T) -> T:
            for name in names:
                known = self._entries.get(name)
                # A module reloaded in a notebook registers the same part again.
                if known is not None and _origin(known) != _origin(entry):
                    raise ValueError(f"{self.kind} {name!r} is registered already, by {_origin(known)}")
                self._entries[name] = entry
            return entry

        return decorate

    def get(self, name: str) -> T:
        """Returns the part called `name`."""
        self._discover()
        if name not in self._entries:
            raise UsageError(f"unknown {self.kind} {name!r}; known: {', '.join(self.names())}")
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        self._discover()
        return tuple(sorted(self._entries))

    def name_of(self, entry: T) -> str:
        """The first name, in order, under which a part is registered."""
        return next(name for name in self.names() if self._entries[name] is entry)

    def _discover(self) -> None:
        if self._package is None:
            return
        package, self._package = importlib.import_module(self._package), None
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)


def _origin(entry: object) -> tuple[str, str]:
    return getattr(entry, "__module__", ""), getattr(entry, "__qualname__", repr(entry))
