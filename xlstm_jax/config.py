"""Frozen dataclasses for config sections. A misspelt key or a value out of bounds raises an error that names it."""

import contextlib
import dataclasses
import math
import numbers
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, TypeVar, get_args, get_origin

import numpy as np

from xlstm_jax.errors import UsageError, shown

T = TypeVar("T")
NESTED = "blocks"  # the field of a `Section` that collects the sections of `nested`


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bounds:
    """The range of a number, as part of its annotation: `features: Annotated[int, Bounds(least=1)]`.

    All numbers must be finite. Floats are compared in float32, the dtype they are used in: 1 - 1e-12 rounds to 1, so it
    is not under 1. A nonzero number must not round to 0.
    """

    least: float | None = None
    over: float | None = None
    under: float | None = None
    most: float | None = None

    def hold(self, value: float) -> bool:
        return (
            (self.least is None or value >= self.least)
            and (self.over is None or value > self.over)
            and (self.under is None or value < self.under)
            and (self.most is None or value <= self.most)
        )

    def __str__(self) -> str:
        limits = {"at least": self.least, "over": self.over, "under": self.under, "at most": self.most}
        return " and ".join(f"{word} {_written(limit)}" for word, limit in limits.items() if limit is not None)


INT32 = 2**31  # steps and sizes are int32
PositiveInt = Annotated[int, Bounds(least=1, under=INT32)]
NonNegativeInt = Annotated[int, Bounds(least=0, under=INT32)]
FiniteFloat = Annotated[float, Bounds()]
PositiveFloat = Annotated[float, Bounds(over=0)]
NonNegativeFloat = Annotated[float, Bounds(least=0)]
Rate = Annotated[float, Bounds(least=0, under=1)]  # dropout rate, or decay per step
RotaryBase = Annotated[float, Bounds(least=1)]  # below 1, later features would rotate faster and their angles overflow
Seed = Annotated[int, Bounds(least=0, under=2**32)]  # jax's keys use 32 bits of an integer

_FLOAT32 = np.finfo(np.float32)


class Section:
    """Base class of the dataclasses for config sections: `class TrainConfig(Section, name="train")`.

    Values are checked at construction. Messages name a key as a config file does: train.steps.
    """

    section: ClassVar[str]

    @classmethod
    def nested(cls) -> Mapping[str, type["Section"]]:
        """Sections inside this one by key, such as those of a registry; the field `blocks` collects them."""
        return {}

    def __init_subclass__(cls, name: str | None = None, **options: Any):
        super().__init_subclass__(**options)
        if name is not None:
            cls.section = name

    def __post_init__(self):
        for field in dataclasses.fields(self):
            check_value(field.type, getattr(self, field.name), f"{self.section}.{field.name}")


def check_value(annotation: Any, value: Any, name: str) -> None:
    """Checks a value against its annotation: a `Literal`, a number with `Bounds`, a dataclass, `bool` or `str`.

    Any other annotation accepts every value.

    Raises:
        UsageError: the annotation excludes the value; the message gives the name, the value and what is allowed.
    """
    if get_origin(annotation) is Literal:
        if not any(type(value) is type(choice) and value == choice for choice in get_args(annotation)):
            allowed = ", ".join(repr(choice) for choice in get_args(annotation))
            raise UsageError(f"{name} {shown(value)} is not allowed; must be one of {allowed}")
    elif bounds := bounds_of(annotation):
        if problem := _problem(get_args(annotation)[0], bounds, value):
            raise UsageError(f"{name} {shown(value)} is not allowed; must be {problem}")
    elif dataclasses.is_dataclass(annotation) and not isinstance(value, annotation):
        raise UsageError(f"{name} {shown(value)} is not allowed; must be of type {annotation.__name__}")
    elif annotation in (bool, str) and not isinstance(value, annotation):
        raise UsageError(f"{name} {shown(value)} is not allowed; must be {_WORDS[annotation]}")


def bounds_of(annotation: Any) -> Bounds | None:
    """The bounds of an `Annotated` number, or None if it has none."""
    extras = getattr(annotation, "__metadata__", ())
    return next((extra for extra in extras if isinstance(extra, Bounds)), None)


def from_section(config_class: type[T], section: Mapping[str, Any], name: str) -> T:
    """Returns `config_class(**section)`, nested dataclasses included.

    Args:
        config_class: a frozen dataclass; a field that is itself a dataclass takes a nested section.
        section: values by key, as in a config file.
        name: the section's name in the config file, for messages.

    Raises:
        UsageError: `section` is not a mapping, has an unknown key (the message lists the fields), has a value that the
            field's annotation excludes (`check_value`), or lacks a field that has no default.
    """
    if not hasattr(section, "items"):  # a ConfigDict is not a Mapping
        raise UsageError(f"{name} {shown(section)} is not allowed; must be a section with keys")
    nested = config_class.nested() if issubclass(config_class, Section) else {}
    fields = {field.name: field for field in dataclasses.fields(config_class) if not (nested and field.name == NESTED)}
    values = {}
    for key, value in section.items():
        if key in nested:
            values[NESTED] = (*values.get(NESTED, ()), from_section(nested[key], value, f"{name}.{key}"))
            continue
        if key not in fields:
            raise UsageError(f"config key {name}.{key} is unknown; {name} has: {', '.join(sorted([*fields, *nested]))}")
        annotation = fields[key].type
        if dataclasses.is_dataclass(annotation):
            value = from_section(annotation, value, f"{name}.{key}")
        else:
            check_value(annotation, value, f"{name}.{key}")
        values[key] = value
    optional = (dataclasses.MISSING, dataclasses.MISSING)
    for key, field in fields.items():
        if key not in values and (field.default, field.default_factory) == optional:
            raise UsageError(f"config key {name}.{key} is missing; {name} needs it")
    return config_class(**values)


def to_section(config: Any) -> dict[str, Any]:
    """The inverse of `from_section`. The result has every key; missing nested sections get their defaults."""
    nested = type(config).nested() if isinstance(config, Section) else {}
    section = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if not (nested and field.name == NESTED):
            section[field.name] = to_section(value) if dataclasses.is_dataclass(value) else value
    given = {type(options): options for options in getattr(config, NESTED, ())} if nested else {}
    return section | {key: to_section(given.get(kind) or kind()) for key, kind in nested.items()}


def knobs(config_class: type[Section]) -> dict[str, Any]:
    """The keys that a config file sets, with their defaults; leaves out fields that are derived from the data."""
    decided = [field.name for field in dataclasses.fields(config_class) if not field.metadata.get("knob", True)]
    return {key: value for key, value in to_section(config_class()).items() if key not in decided}


def typed(annotation: Any, text: str, name: str) -> Any:
    """Parses a text by a field's annotation: a `Literal`, bool, int, float or str.

    Raises:
        UsageError: the text is not such a value; the message begins with `name`.
    """
    kind = get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation
    value: Any = text
    if kind is bool and text.lower() in ("true", "false"):
        value = text.lower() == "true"
    elif kind in (int, float):
        with contextlib.suppress(ValueError):
            value = kind(text)
    elif get_origin(kind) is Literal:
        value = next((choice for choice in get_args(kind) if str(choice) == text), text)
    if kind in (bool, int, float) and type(value) is not kind:
        raise UsageError(f"{name} {text!r} is not allowed; give {_WORDS[kind]}")
    check_value(annotation, value, name)
    return value


def listed(text: str) -> tuple[str, ...]:
    """The names in an option, which has commas between them: a and b in "a, b", none in ""."""
    return tuple(name.strip() for name in text.split(",") if name.strip())


_WORDS = {bool: "True or False", str: "a string", int: "an integer", float: "a number"}


def _problem(kind: type, bounds: Bounds, value: Any) -> str:
    """What the number must be, for the message; empty if `value` is allowed."""
    allowed = str(bounds)
    if kind is int:
        if isinstance(value, bool) or not isinstance(value, numbers.Integral):
            return f"an integer, {allowed}"
        return "" if bounds.hold(value) else allowed
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        return f"a number, {allowed}" if allowed else "a number"
    with np.errstate(over="ignore"):
        rounded = float(np.float32(value)) if abs(value) <= 2 * float(_FLOAT32.max) else math.inf
    if not math.isfinite(rounded):
        return f"{allowed} and finite in float32" if allowed else "finite in float32"
    if value != 0 and abs(rounded) < _FLOAT32.tiny:
        rest = f"at least {_FLOAT32.tiny:.0e} in float32"
        return f"0, or {rest}" if bounds.hold(0) else rest
    if bounds.hold(rounded):
        return ""
    return f"{allowed} in float32" if bounds.hold(value) else allowed


def _written(limit: float) -> str:
    power = math.log2(limit) if limit > 0 else 0
    return f"2**{power:.0f}" if limit > 1e6 and power.is_integer() else f"{limit}"
