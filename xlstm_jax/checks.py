"""What public constructors and calls are given, against what they document: one `UsageError` line says both.

All of it looks at shapes, dtypes and Python numbers alone, while a program is traced: compiled programs do not change.
"""

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.config import check_value
from xlstm_jax.errors import UsageError, one_line

_OPTIONAL = ("lengths", "reset", "mask", "state", "keys", "D", "log_decay")  # of arrays by the name before their axes
# Likewise; those that are not here are floats.
_KINDS = {
    "lengths": (jnp.integer, "integers [B], how many steps of each row count; of a mask [B,T] of them, mask.sum(1)"),
    "tokens": (jnp.integer, "integers, the numbers of tokens"),
    "reset": (jnp.bool_, "bools [B,T], true where a row starts anew; of numbers, reset != 0"),
    "mask": (jnp.bool_, "bools [B,T], true where a step counts; of numbers, mask != 0"),
}
_FLOATS = (jnp.floating, "floats: float32, bfloat16 or float64")


def checked(owner: str, sizes: Mapping[str, int] | None = None, /, **arrays: Any) -> tuple[jax.Array | None, ...]:
    """The arrays in the order given, as jax arrays; a list or a NumPy array will do for one.

    None stays None for those that an op may do without (`_OPTIONAL`).

        q_BTHK, k_BTHK, reset_BT = checked("mlstm", q_BTHK=q_BTHK, k_BTHK=k_BTHK, reset_BT=reset_BT)

    Args:
        owner: what was called, for the message.
        sizes: axis letters whose size is known beforehand.
        **arrays: by names that end in their axes' letters (`xlstm_jax.shapes`), with "..." for any axes before
            them; a letter has one size in all of them. Lengths and tokens are integers, resets and masks bools, all
            others floats.

    Raises:
        UsageError: shapes that do not fit together, or a dtype of another kind; it names the first such array.
    """
    given, axes, known = {}, {}, dict(sizes or {})
    for argument, a in arrays.items():
        name, letters = argument.rsplit("_", 1)
        given[name], axes[name] = _array(owner, name, a), letters
    there = {name: a for name, a in given.items() if a is not None}
    for name, a in there.items():
        # The lengths' kind comes before their shape: of a mask the shape would be the smaller mistake.
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
    """What was given for the argument `name`, as a jax array; None stays None for those that may be left out."""
    if a is None and name not in _OPTIONAL:
        raise UsageError(f"{owner} got no {name}: it is None, and an array is needed")
    if isinstance(a, list | tuple) and not len(a) and name in _KINDS:
        a = np.zeros(0, np.int32 if _KINDS[name][0] is jnp.integer else np.bool_)  # NumPy's is one of floats
    try:
        made = None if a is None else jnp.asarray(a)
    except (TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{owner} got {name} that is no array: {one_line(error)}") from error
    if isinstance(a, np.ndarray) and a.dtype.kind in "iu" and made.dtype != a.dtype:
        # Integers of 64 bits become some of 32 outside of x64 mode, by their last bits.
        bounds = jnp.iinfo(made.dtype)
        if a.min(initial=0) < bounds.min or a.max(initial=0) > bounds.max:
            raise UsageError(f"{owner} got {name} with numbers outside of {made.dtype}, {bounds.min} to {bounds.max}")
    return made


def _is_kind(dtype: jnp.dtype, kind: Any) -> bool:
    """Floats of 8 bits and fewer, with which jax does not compute, are none here."""
    return jnp.issubdtype(dtype, kind) and (kind is not jnp.floating or dtype.itemsize > 1)


def _misfit(letters: str, shape: tuple, known: dict[str, int]) -> str:
    """Why a shape does not fit its letters; empty where it does, and then `known` has the sizes of all of them."""
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
    """The carry in the dtypes of `like`, which is at least float32 for a state, whatever it was saved in.

    Args:
        owner, name: what was called, and what the argument is called there, for the message.
        carry: what a caller gave; its leaves may be NumPy arrays.
        like: what `init_carry` makes for this input, or its shapes.

    Raises:
        UsageError: another structure, shape or kind of number: that of another cell, batch size, direction or depth.
    """
    _compare(owner, name, carry, like, parts=False)
    return jax.tree.map(lambda leaf, wanted: jnp.asarray(leaf).astype(wanted.dtype), carry, like)


def check_parts(owner: str, carry: Any, like: Any, name: str = "carry") -> None:
    """As `checked_carry`, of a layer or model that is made of parts: None is a part's own start.

    Dtypes are left to the parts.
    """
    _compare(owner, name, carry, like, parts=True)


def _compare(owner: str, path: str, got: Any, like: Any, *, parts: bool) -> None:
    """Raises where `got`, which `path` leads to, is not like `like`; with `parts` None is a part's own start."""
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
    """Parts of a node of a carry, by what is written after the node's name to reach them."""
    if hasattr(node, "_fields"):
        return {f".{field}": part for field, part in zip(node._fields, node, strict=True)}
    items = node.items() if isinstance(node, Mapping) else enumerate(node)
    return {f"[{key!r}]": part for key, part in items}


def outline(tree: Any) -> str:
    """What a carry is, in a few words."""
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
    """Refuses what is no integer, or one below `least`, by its name.

    Raises:
        UsageError: such a size.
    """
    for name, size in sizes.items():
        if jax.export.is_symbolic_dim(size):
            continue
        if isinstance(size, bool) or not isinstance(size, int | np.integer) or size < least:
            raise UsageError(f"{owner} {name} {size!r} is not allowed; it is an integer, at least {least}")


def check_choice(name: str, value: Any, allowed: Any) -> None:
    """Refuses a value that is none of those of the `Literal` type `allowed`; `name` is the argument's.

    Raises:
        UsageError: such a value, with all that are allowed.
    """
    choices = get_args(allowed)
    if value not in choices:
        raise UsageError(f"{name} {value!r} is unknown; allowed: {', '.join(map(repr, choices))}")


def check_config(config: Any) -> None:
    """Refuses a cell's config with an integer field below 1, or another field of a value that its annotation excludes.

    Raises:
        UsageError: such a field, by its name.
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
    """The dtype of products and outputs, which is one of floats.

    Raises:
        UsageError: another, or no dtype; or float64 outside of jax's x64 mode, where it would become float32.
    """
    try:
        made = jnp.dtype(dtype)
    except TypeError:
        made = None
    if made is None or not _is_kind(made, jnp.floating):
        shown = repr(dtype) if made is None else str(made)
        raise UsageError(f"{owner} dtype {shown} is not allowed; it is one of floats: float32, bfloat16 or float64")
    if made == jnp.float64 and not jax.config.jax_enable_x64:
        raise UsageError(f"{owner} dtype float64 needs jax's x64 mode; set JAX_ENABLE_X64=1, or take float32")
    return made


def is_empty(x_BT: jax.Array) -> bool:
    """Whether there is no row or no step: such a sequence gives empty outputs and leaves the carry as it was."""
    return 0 in x_BT.shape[:2]
