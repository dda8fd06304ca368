"""A file for a generation state, from which generation continues exactly where it stopped."""

import os
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.errors import UsageError, one_line, shown
from xlstm_jax.files import replacing
from xlstm_jax.generate.decoder import Reader
from xlstm_jax.generate.state import GenerationState, init_state

FORMAT = "xlstm_jax generation state, version 1"


def save_state(path: str | os.PathLike, state: GenerationState, texts: Sequence[np.ndarray] = ()) -> None:
    """Writes the state to one .npz file, atomically and without pickle.

    Args:
        path: the file.
        state: any state.
        texts: tokens of each row so far, for programs that show them; the state does not need them.

    Raises:
        UsageError: the file cannot be written.
    """
    path = Path(path)
    arrays = {name: _storable(leaf) for name, leaf in _leaves(_plain(state)).items()}
    arrays |= {f"text/{row}": np.asarray(tokens, np.int32) for row, tokens in enumerate(texts)}
    arrays |= {"format": np.array(FORMAT), "key_impl": np.array(str(jax.random.key_impl(state.key)))}
    try:
        with replacing(path) as temporary, temporary.open("wb") as file:
            np.savez(file, **arrays)
    except OSError as error:
        raise UsageError(f"cannot write state {str(path)!r}: {one_line(error)}; give another path") from error


def load_state(path: str | os.PathLike, model: Reader) -> tuple[GenerationState, list[np.ndarray]]:
    """Reads a file of `save_state`; returns the state and the tokens of the texts.

    Raises:
        UsageError: the file is missing or damaged, or its shapes do not fit the model.
    """
    found = _arrays(path)
    try:
        key = jax.random.wrap_key_data(jnp.asarray(found["key"]), impl=str(found.pop("key_impl")))
        rows, _ = found["logits_BA"].shape
    except (KeyError, NotImplementedError, TypeError, ValueError) as error:
        raise _damaged(path, error) from error
    # `rows` is unchecked until the shapes are compared, so bound it by the number of arrays.
    texts = [found.pop(f"text/{row}") for row in range(min(rows, len(found))) if f"text/{row}" in found]
    like = _plain(jax.eval_shape(lambda: init_state(model, rows))._replace(key=key))
    wanted = _leaves(like)
    for name in sorted(wanted.keys() | found.keys()):
        there, here = (shown(tuple(tree[name].shape)) if name in tree else "nothing" for tree in (found, wanted))
        if there != here:
            what = name if name in wanted else shown(name)[1:-1]
            raise UsageError(
                f"state {str(path)!r} is from another model: its {what} is {there}, but this model needs {here}; "
                "use the run that it was saved with"
            )
    for name, leaf in wanted.items():
        if _kind(found[name]) is not _kind(leaf):
            raise _damaged(path, TypeError(f"{name} has dtype {found[name].dtype}"))
    for text in texts:
        if text.ndim != 1 or _kind(text) is not jnp.integer or ((text < 0) | (text >= model.vocab_size)).any():
            raise _damaged(path, ValueError("its texts are not tokens of this model"))
    leaves = [jnp.asarray(found[name]).astype(leaf.dtype) for name, leaf in wanted.items()]
    return jax.tree.unflatten(jax.tree.structure(like), leaves)._replace(key=key), texts


def _plain(state: GenerationState) -> GenerationState:
    """The state with its key as integers."""
    return state._replace(key=jax.random.key_data(state.key))


def _leaves(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in leaves}


def _storable(leaf: jax.Array) -> np.ndarray:
    """Converts bfloat16, which .npy does not support, to float32, which is exact."""
    array = np.asarray(leaf)
    return array.astype(np.float32) if array.dtype == jnp.bfloat16 else array


def _kind(array: Any) -> Any:
    return next((kind for kind in (jnp.bool_, jnp.integer, jnp.floating) if jnp.issubdtype(array.dtype, kind)), None)


def _arrays(path: str | os.PathLike) -> dict[str, np.ndarray]:
    try:
        # Opened here because numpy leaves a file that it opened open if it is damaged.
        with open(path, "rb") as file:
            _check_entries(file)
            with np.load(file, allow_pickle=False) as entries:
                arrays = {name: entries[name] for name in entries.files}
        if strange := [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]:
            raise ValueError(f"{strange[0]!r} is not an array")
    except FileNotFoundError as error:
        raise UsageError(f"no state file {str(path)!r}; --save_state=FILE writes one") from error
    except Exception as error:  # the readers of zip and .npy can raise anything on damaged files
        raise _damaged(path, error) from error
    if str(arrays.pop("format", "")) != FORMAT:
        raise _damaged(path, ValueError(f"it is not an {FORMAT}"))
    return arrays


def _check_entries(file: BinaryIO) -> None:
    """Raises `ValueError` for compressed entries: `save_state` writes none, and they could unpack to any size."""
    with zipfile.ZipFile(file) as archive:
        entries = archive.infolist()
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or sum(e.file_size for e in entries) > size:
        raise ValueError("its entries are compressed, or larger than the file")


def _damaged(path: str | os.PathLike, error: Exception) -> UsageError:
    return UsageError(f"state {str(path)!r} cannot be read ({one_line(error)}); save it again")
