"""Config sections become frozen dataclasses here: a misspelt key is an error that names the allowed ones."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, TypeVar, get_args, get_origin

from xlstm_jax.errors import UsageError

T = TypeVar("T")


def from_section(config_class: type[T], section: Mapping[str, Any], name: str) -> T:
    """`config_class(**section)`, nested dataclasses included.

    Args:
        config_class: a frozen dataclass; a field that is itself one takes a nested section.
        section: values by key, as a config file gives them.
        name: what the section is called there, for messages.

    Raises:
        UsageError: a key that is not a field, with the fields there are; a value that a `Literal` field excludes; or a
            field without a default that is not given.
    """
    fields = {field.name: field for field in dataclasses.fields(config_class)}
    values = {}
    for key, value in section.items():
        if key not in fields:
            raise UsageError(f"config key {name}.{key} is unknown; {name} has: {', '.join(sorted(fields))}")
        annotation = fields[key].type
        if dataclasses.is_dataclass(annotation):
            if not isinstance(value, Mapping):
                raise UsageError(f"config key {name}.{key} = {value!r} is not allowed; it is a section with keys")
            value = from_section(annotation, value, f"{name}.{key}")
        elif get_origin(annotation) is Literal and value not in get_args(annotation):
            allowed = ", ".join(repr(choice) for choice in get_args(annotation))
            raise UsageError(f"config key {name}.{key} = {value!r} is not allowed; it is one of {allowed}")
        values[key] = value
    optional = (dataclasses.MISSING, dataclasses.MISSING)
    for key, field in fields.items():
        if key not in values and (field.default, field.default_factory) == optional:
            raise UsageError(f"config key {name}.{key} is missing; {name} needs it")
    return config_class(**values)
