"""Names for interchangeable parts: a part registers itself, users ask for it by name."""

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

from xlstm_jax.errors import UsageError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps names to parts; an unknown name raises `UsageError` with the list of known ones.

    Args:
        kind: what is registered, for messages ("cell", "task").
        package: where parts live; its modules are imported on the first look-up, so that a new file in the
            package is found with no list to edit.
    """

    def __init__(self, kind: str, package: str | None = None):
        self.kind = kind
        self._package = package
        self._entries: dict[str, T] = {}

    def register(self, *names: str) -> Callable[[T], T]:
        """Decorator that registers its target under each of `names`; a name taken by another part raises."""

        def decorate(entry: T) -> T:
            for name in names:
                known = self._entries.get(name)
                # A reloaded module (notebooks do that) registers the same part again.
                if known is not None and _origin(known) != _origin(entry):
                    raise ValueError(f"{self.kind} {name!r} is registered already, by {_origin(known)}")
                self._entries[name] = entry
            return entry

        return decorate

    def get(self, name: str) -> T:
        """The part called `name`."""
        self._discover()
        if name not in self._entries:
            raise UsageError(f"unknown {self.kind} {name!r}; known: {', '.join(self.names())}")
        return self._entries[name]

    def names(self) -> tuple[str, ...]:
        """All names, sorted."""
        self._discover()
        return tuple(sorted(self._entries))

    def _discover(self) -> None:
        if self._package is None:
            return
        package, self._package = importlib.import_module(self._package), None
        for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
            importlib.import_module(module.name)


def _origin(entry: object) -> tuple[str, str]:
    return getattr(entry, "__module__", ""), getattr(entry, "__qualname__", repr(entry))
