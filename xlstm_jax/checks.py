"""Argument checks of public constructors and calls: a one-line `UsageError` says what was given and what is wanted.

The checks look only at shapes, dtypes and Python numbers while a program is traced; compiled programs do not change.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.config import check_value
from xlstm_jax.errors import UsageError, one_line

_OPTIONAL = ("lengths", "reset", "mask", "state", "keys", "D", "log_decay")  # array names without the axes' suffix
# Kinds of arrays by the same names; all others are floats.
_KINDS = {
    "lengths": (jnp.integer, "integers [B], the number of real steps of each row; from a mask [B,T], mask.sum(1)"),
    "tokens": (jnp.integer, "integers, token numbers"),
    "reset": (jnp.bool_, "bools [B,T], true where a row starts anew; from numbers, reset != 0"),
    "mask": (jnp.bool_, "bools [B,T], true where a step counts; from numbers, mask != 0"),
}
_FLOATS = (jnp.floating, "floats: float32, bfloat16 or float64")


def checked(owner: str, sizes: Mapping[str, int] | None = None, /, **arrays: Any) -> tuple[jax.Array | None, ...]:
    """Checks arrays and returns them in the order given, as jax arrays; lists and NumPy arrays are converted.

    None stays None for optional arrays (`_OPTIONAL`).

        q_BTHK, k_BTHK, reset_BT = checked("mlstm", q_BTHK=q_BTHK, k_BTHK=k_BTHK, reset_BT=reset_BT)

    Args:
        owner: what was called, for the message.
        sizes: sizes of axis letters that are known beforehand.
        **arrays: by names that end in their axes' letters (`xlstm_jax.shapes`), with "..." for any leading axes. A
            letter has the same size in all of them. Lengths and tokens must be integers, resets and masks bools, all
            others floats.

    Raises:
        UsageError: shapes that do not fit together, or a dtype of another kind; names the first such array.
    """
    given, axes, known = {}, {}, dict(sizes or {})
    for argument, a in arrays.items():
        name, letters = argument.rsplit("_", 1)
        given[name], axes[name] = _array(owner, name, a), letters
    there = {name: a for name, a in given.items() if a is not None}
    for name, a in there.items():
        # Check kinds before shapes: if a mask is passed for lengths, its kind is the clearer error.
        kind, wanted = _KINDS.get(name, _FLOATS)
        if not _is_kind(a.dtype, kind):
            raise UsageError(f"{owner} got {name} {a.shape} of {a.dtype}; wanted {wanted}")
    for name, a in there.items():
        if why := _misfit(axes[name], a.shape, known):
            got = ", ".join(f"{name} {a.shape}" for name, a in there.items())
            spelt = {name: ",".join(re.findall(r"\.{3}|.", axes[name])) for name in there}
            wanted = ", ".join(f"{name} [{letters}]" for name, letters in spelt.items())
            raise UsageError(f"{owner} got {got}; wanted {wanted}: {name} has {why}")
    return tuple(given.values())


def _array(owner: str, name: str, a: Any) -> jax.Array | None:
    """Converts the argument `name` to a jax array; None stays None if the argument is optional."""
    if a is None and name not in _OPTIONAL:
        raise UsageError(f"{owner} got None for {name}; pass an array")
    if isinstance(a, list | tuple) and not len(a) and name in _KINDS:
        a = np.zeros(0, np.int32 if _KINDS[name][0] is jnp.integer else np.bool_)  # NumPy makes empty lists floats
    try:
        made = None if a is None else jnp.asarray(a)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{owner} got {name} that is not an array: {one_line(error)}") from error
    if isinstance(a, np.ndarray) and a.dtype.kind in "iu" and made.dtype != a.dtype:
        # Outside of x64 mode, jax truncates 64-bit integers to their lowest 32 bits.
        bounds = jnp.iinfo(made.dtype)
        if a.min(initial=0) < bounds.min or a.max(initial=0) > bounds.max:
            raise UsageError(f"{owner} got {name} with numbers outside of {made.dtype}, {bounds.min} to {bounds.max}")
    return made


def _is_kind(dtype: jnp.dtype, kind: Any) -> bool:
    """Whether a dtype is of a kind; floats of 8 bits or fewer do not count, since jax does not compute with them."""
    return jnp.issubdtype(dtype, kind) and (kind is not jnp.floating or dtype.itemsize > 1)


def _misfit(letters: str, shape: tuple, known: dict[str, int]) -> str:
    """Why a shape does not fit its letters; empty if it does. Adds the letters' sizes to `known`."""
    if letters.startswith("..."):
        letters = letters[3:]
        shape = shape[-len(letters) :]
    if len(shape) != len(letters):
        return f"{len(shape)} axes, not {len(letters)}"
    for letter, size in zip(letters, shape, strict=True):
        if known.setdefault(letter, size) != size:
            return f"{letter} = {size}, not {known[letter]}"
    return ""


def checked_carry(owner: str, carry: Any, like: Any, name: str = "carry") -> Any:
    """Checks a carry against `like` and casts it to the dtypes of `like`, which are at least float32 for a state.

    Args:
        owner, name: what was called, and the name of the argument there, for the message.
        carry: the caller's carry; its leaves may be NumPy arrays.
        like: the result of `init_carry` for this input, or its shapes.

    Raises:
        UsageError: another structure, shape or kind of number, as from another cell, batch size, direction or depth.
    """
    _compare(owner, name, carry, like, parts=False)
    return jax.tree.map(lambda leaf, wanted: jnp.asarray(leaf).astype(wanted.dtype), carry, like)


def check_parts(owner: str, carry: Any, like: Any, name: str = "carry") -> None:
    """Like `checked_carry`, for a layer or model made of parts; None means a part's initial carry.

    The parts themselves convert dtypes.
    """
    _compare(owner, name, carry, like, parts=True)


def _compare(owner: str, path: str, got: Any, like: Any, *, parts: bool) -> None:
    """Raises if `got`, found at `path`, does not match `like`. With `parts`, None may replace any part."""
    if got is None and (parts or like is None):
        return
    if hasattr(like, "shape"):
        shape, dtype = (tuple(got.shape), got.dtype) if hasattr(got, "dtype") else (None, None)
        wanted = jnp.floating if jnp.issubdtype(like.dtype, jnp.floating) else like.dtype
        if shape != like.shape or not jnp.issubdtype(dtype, wanted):
            found = outline(got) if shape is None else f"{shape} of {dtype}"
            raise UsageError(f"{owner} got {path} {found}; wanted {tuple(like.shape)} of {like.dtype} for this input")
        return
    if type(got) is not type(like) or _children(got).keys() != _children(like).keys():
        raise UsageError(f"{owner} got {path} {outline(got)}; wanted {outline(like)} for this input")
    for part, child in _children(like).items():
        _compare(owner, path + part, _children(got)[part], child, parts=parts)


def _children(node: Any) -> dict[str, Any]:
    """The parts of a carry's node, keyed by the suffix that accesses them: ".field" or "[key]"."""
    if hasattr(node, "_fields"):
        return {f".{field}": part for field, part in zip(node._fields, node, strict=True)}
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    return {f"[{key!r}]": part for key, part in items}


def outline(tree: Any) -> str:
    """A short description of a carry, for messages."""
    if hasattr(tree, "_fields"):
        return f"{type(tree).__name__}({', '.join(tree._fields)})"
    if isinstance(tree, tuple | list):
        return f"{type(tree).__name__} of {len(tree)} ({', '.join(map(outline, tree[:3]))}{', ...' * (len(tree) > 3)})"
    if isinstance(tree, Mapping):
        return f"{type(tree).__name__} of {', '.join(map(repr, tree))}"
    if hasattr(tree, "shape") and hasattr(tree, "dtype"):
        return f"array {tuple(tree.shape)}"
    return "None" if tree is None else type(tree).__name__


def check_sizes(owner: str, least: int = 1, /, **sizes: Any) -> None:
    """Checks that each size is an integer of at least `least`; the message has its name.

    Raises:
        UsageError: a size is not an integer, or too small.
    """
    for name, size in sizes.items():
        if jax.export.is_symbolic_dim(size):
            continue
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < least:
            raise UsageError(f"{owner} {name} {size!r} is not allowed; must be an integer, at least {least}")


def check_choice(name: str, value: Any, allowed: Any) -> None:
    """Checks that the argument `name` is one of the values of the `Literal` type `allowed`.

    Raises:
        UsageError: another value; lists the allowed ones.
    """
    choices = get_args(allowed)
    if value not in choices:
        raise UsageError(f"{name} {value!r} is unknown; allowed: {', '.join(map(repr, choices))}")


def check_config(config: Any) -> None:
    """Checks a cell's config: integer fields are at least 1, other fields have values that their annotations allow.

    Raises:
        UsageError: a field with another value, by name.
    """
    owner = type(config).__name__
    for name, hint in get_type_hints(type(config), include_extras=True).items():
        value = getattr(config, name)
        if hint is int:
            check_sizes(owner, **{name: value})
        elif get_origin(hint) is Literal:
            check_choice(f"{owner} {name}", value, hint)
        else:
            check_value(hint, value, f"{owner} {name}")


def check_dtype(owner: str, dtype: Any) -> jnp.dtype:
    """Checks the dtype of products and outputs, which must be a float dtype, and returns it.

    Raises:
        UsageError: another dtype, or not a dtype; or float64 outside of jax's x64 mode, where it would become float32.
    """
    try:
        made = jnp.dtype(dtype)
    except TypeError:
        made = None
    if made is None or not _is_kind(made, jnp.floating):
        shown = repr(dtype) if made is None else str(made)
        raise UsageError(f"{owner} dtype {shown} is not allowed; choose a float: float32, bfloat16 or float64")
    if made == jnp.float64 and not jax.config.jax_enable_x64:
        raise UsageError(f"{owner} dtype float64 needs jax's x64 mode; set JAX_ENABLE_X64=1, or use float32")
    return made


def is_empty(x_BT: jax.Array) -> bool:
    """Whether there are no rows or no steps; then outputs are empty and the carry stays unchanged."""
    return 0 in x_BT.shape[:2]
