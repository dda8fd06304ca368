"""A model as programs that run without this package: StableHLO by `jax.export` and the weights, in one file."""

import importlib.util
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import xlstm_jax
from xlstm_jax.errors import UsageError, one_line
from xlstm_jax.files import replacing
from xlstm_jax.generate.text import end_tokens
from xlstm_jax.models import LanguageModel

FORMAT = "xlstm_jax export, version 1"
PROGRAMS = ("start", "prefill", "step")


def export_programs(
    model: LanguageModel, *, platforms: Sequence[str], prefill_chunk: int, batch: int | None = None
) -> tuple[dict[str, bytes], list[jax.Array], dict[str, Any]]:
    """The serialised programs, the weights in the order in which they take them, and the carry's description.

        start(weights, lengths_B) -> carry                                      before the first token
        prefill(weights, tokens_BL, lengths_B, carry, logits_BA) -> logits_BA, carry      a piece of each prompt
        step(weights, tokens_B, carry) -> logits_BA, carry                      one token a row

    Weights and carry are flat lists of arrays. A prompt of any length passes through `prefill` in pieces of L tokens,
    the last one padded; lengths are those of the rows inside the piece, and a row with none there keeps its logits.

    Args:
        platforms: as jax names them: cpu, cuda, rocm, tpu.
        prefill_chunk: L, fixed: how a sequence is computed is chosen from its length.
        batch: a fixed B; None: any.

    Raises:
        UsageError: an unknown platform, a size below 1, flatbuffers is not installed, or a model with no such program.
    """
    check_export(platforms, prefill_chunk, batch)
    graphdef, state = nnx.split(model)
    weights, weights_def = jax.tree.flatten(state)
    size = jax.export.symbolic_shape("b")[0] if batch is None else batch
    try:
        carry = jax.eval_shape(lambda: model.init_carry(size))
    except Exception as error:
        raise _refused(error, batch) from error
    carry_def = jax.tree.structure(carry)

    def made(weights: list) -> LanguageModel:
        return nnx.merge(graphdef, jax.tree.unflatten(weights_def, weights))

    def start(weights, lengths_B):
        return jax.tree.leaves(made(weights).init_carry(lengths_B.shape[0]))

    def prefill(weights, tokens_BL, lengths_B, carry, logits_BA):
        carry = jax.tree.unflatten(carry_def, carry)
        carry, logits_BA = made(weights).read(tokens_BL, lengths_B, carry, logits_BA)
        return logits_BA, jax.tree.leaves(carry)

    def step(weights, tokens_B, carry):
        logits_BA, carry = made(weights).step(tokens_B, jax.tree.unflatten(carry_def, carry))
        return logits_BA, jax.tree.leaves(carry)

    def ints(*shape):
        return jax.ShapeDtypeStruct(shape, jnp.int32)

    leaves, logits = jax.tree.leaves(carry), jax.ShapeDtypeStruct((size, model.vocab_size), jnp.float32)
    arguments = {
        "start": (start, (ints(size),)),
        "prefill": (prefill, (ints(size, prefill_chunk), ints(size), leaves, logits)),
        "step": (step, (ints(size), leaves)),
    }
    like = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in weights]
    programs = {
        name: serialised(function, (like, *inputs), platforms, batch) for name, (function, inputs) in arguments.items()
    }
    return programs, weights, {"carry": _described(carry)}


def serialised(
    function: Callable, arguments: tuple[Any, ...], platforms: Sequence[str], batch: int | None = 1
) -> bytes:
    """The program of a function for arguments of these shapes. `batch` is for the message: None is a batch of any size.

    Raises:
        UsageError: jax cannot export it.
    """
    try:
        return bytes(jax.export.export(jax.jit(function), platforms=tuple(platforms))(*arguments).serialize())
    except Exception as error:  # whatever a block does that jax cannot export for this batch or platform
        raise _refused(error, batch) from error


def _described(carry: Any) -> list[dict[str, Any]]:
    """Name, shape and dtype of each leaf, for the header."""
    return [
        {
            "name": jax.tree_util.keystr(path, simple=True, separator="/"),
            "shape": [n if isinstance(n, int) else "b" for n in leaf.shape],
            "dtype": str(leaf.dtype),
        }
        for path, leaf in jax.tree_util.tree_leaves_with_path(carry)
    ]


def write_export(
    path: str | os.PathLike,
    model: LanguageModel,
    tokenizer: Any,
    *,
    platforms: Sequence[str],
    prefill_chunk: int,
    batch: int | None = None,
    about: dict[str, Any] | None = None,
) -> None:
    """One zip file: header.json, a .bin of each program, weights.npz; the file is at all times the old or the new one.

    Args:
        tokenizer: the header holds its JSON form and the tokens that end a text.
        platforms, prefill_chunk, batch: see `export_programs`.
        about: further entries of the header.

    Raises:
        UsageError: as `export_programs`, or the file cannot be written.
    """
    options = {"platforms": list(platforms), "prefill_chunk": prefill_chunk, "batch": batch}
    programs, weights, described = export_programs(model, **options)
    header = {
        "format": FORMAT,
        "vocabulary": {"kind": tokenizer.kind, "size": model.vocab_size},
        "tokenizer": tokenizer.to_json(),
        "end_tokens": list(end_tokens(tokenizer)),
        "weights": len(weights),
        "versions": versions(),
        **options,
        **described,
        **(about or {}),
    }
    write_programs(path, header, programs, weights)


def versions() -> dict[str, str]:
    """The versions of the packages that write a file, for its header."""
    return {"xlstm_jax": xlstm_jax.__version__, "jax": jax.__version__, "numpy": np.__version__}


def write_programs(
    path: str | os.PathLike, header: dict[str, Any], programs: dict[str, bytes], weights: Sequence[jax.Array]
) -> None:
    """One zip file: header.json, NAME.bin of each program, weights.npz; it appears whole or not at all.

    Raises:
        UsageError: the file cannot be written.
    """
    path = Path(path)
    try:
        with replacing(path) as temporary, zipfile.ZipFile(temporary, "w") as file:
            file.writestr("header.json", json.dumps(header, indent=2) + "\n")
            for name, program in programs.items():
                file.writestr(f"{name}.bin", program, zipfile.ZIP_DEFLATED)
            with file.open("weights.npz", "w", force_zip64=True) as inner:
                np.savez(inner, *(np.asarray(leaf) for leaf in weights))
    except OSError as error:
        raise UsageError(f"cannot write {str(path)!r}: {one_line(error)}; give a file in a folder") from error


def check_export(platforms: Sequence[str], prefill_chunk: int = 1, batch: int | None = None) -> None:
    """Raises `UsageError` for an unknown platform, a size below 1, or if flatbuffers is not installed."""
    known = ("cpu", "cuda", "rocm", "tpu")
    for platform in platforms or [""]:
        if platform not in known:
            raise UsageError(f"platform {platform!r} is unknown; known: {', '.join(known)}")
    if prefill_chunk < 1 or (batch is not None and batch < 1):
        raise UsageError(f"prefill_chunk {prefill_chunk} and batch {batch} are not allowed; both must be at least 1")
    check_flatbuffers()


def check_flatbuffers() -> None:
    """Raises `UsageError` if the package is missing with which jax writes and reads programs."""
    if importlib.util.find_spec("flatbuffers") is None:
        raise UsageError("exported programs need the package flatbuffers; pip install flatbuffers")


def _refused(error: Exception, batch: int | None) -> UsageError:
    help_ = "fix the batch with --batch=N, or name other platforms" if batch is None else "name other platforms"
    return UsageError(f"this model cannot be exported with these options: {one_line(error)}; {help_}")
