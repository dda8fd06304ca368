"""A trained task in one file: compiled predictions, and what reads input and names answers."""

import dataclasses
import json
import os
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from xlstm_jax.config import from_section, to_section
from xlstm_jax.errors import UsageError, one_line
from xlstm_jax.generate.export import check_export, check_flatbuffers, serialised, versions, write_programs
from xlstm_jax.plugins import load_plugins
from xlstm_jax.tasks import TASKS, Task
from xlstm_jax.train.workdir.saved import Saved

FORMAT = "xlstm_jax predictor, version 1"
SHORTEST = 8  # steps of the smallest program


@dataclasses.dataclass(frozen=True)
class Predictor:
    """A task that answers, from a run or from a file.

    Attributes:
        task: reads input and names answers.
        step: the training step at which the weights were saved.
        run: maps a batch of `task.collate` to the input of `task.render`, as NumPy arrays.
    """

    task: Task
    step: int
    run: Callable[[Any], Any]


def write_predictor(path: str | os.PathLike, saved: Saved, *, platforms: Sequence[str], longest: int) -> None:
    """One zip file with a program for each power of two of steps, up to the first that is at least `longest`.

    Each program takes any number of rows.

    Raises:
        UsageError: an unknown platform, a task or a model without such programs, or the file cannot be written.
    """
    check_export(platforms)
    task, sections = saved.parts.task, saved.parts.sections
    graphdef, state = nnx.split(saved.model)
    weights, weights_def = jax.tree.flatten(state)
    like = [jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in weights]
    rows = jax.export.symbolic_shape("b")[0]
    programs, length = {}, SHORTEST
    while not programs or length < 2 * longest:
        leaves, form = jax.tree.flatten(task.collate([task.blank(length)]))
        if (name := f"predict_{leaves[0].shape[1]}") in programs:  # of a task whose inputs have one length
            break
        batch = [jax.ShapeDtypeStruct((rows, *leaf.shape[1:]), leaf.dtype) for leaf in leaves]

        def predict(weights, *leaves, form=form):
            model = nnx.merge(graphdef, jax.tree.unflatten(weights_def, weights))
            return task.predict(model, jax.tree.unflatten(form, leaves))

        programs[name] = serialised(predict, (like, *batch), platforms)
        length *= 2
    header = {
        "format": FORMAT,
        "task": TASKS.name_of(type(task)),
        "plugins": sections.plugins,
        "data": to_section(sections.data),
        "codec": task.codec.to_json(),
        "step": saved.step,
        "longest": max(int(name.rpartition("_")[2]) for name in programs),
        "platforms": list(platforms),
        "versions": versions(),
    }
    write_programs(path, header, programs, weights)


def load_predictor(path: str | os.PathLike) -> Predictor:
    """Reads a file of `write_predictor`.

    Raises:
        UsageError: the file is missing, damaged, of another kind or for other platforms, or flatbuffers is missing.
    """
    check_flatbuffers()
    damaged = f"{str(path)!r} cannot be read as an exported task"
    try:
        with zipfile.ZipFile(path) as file:
            header = json.loads(file.read("header.json"))
            if not isinstance(header, dict) or header.get("format") != FORMAT:
                kind = header.get("format", "unknown") if isinstance(header, dict) else "unknown"
                raise UsageError(
                    f"{damaged}: its format is {kind!r}, not {FORMAT!r}; docs/serving.md shows how to run a language "
                    "model"
                )
            with file.open("weights.npz") as inner, np.load(inner, allow_pickle=False) as arrays:
                weights = [arrays[f"arr_{number}"] for number in range(len(arrays.files))]
            programs = {
                name[8:-4]: bytearray(file.read(name))
                for name in file.namelist()
                if name.startswith("predict_") and name.endswith(".bin")
            }
        load_plugins(header["plugins"])
        kind = TASKS.get(header["task"])
        task = kind(from_section(kind.Config, header["data"], "data"), kind.codec_from_json(header["codec"]))
        compiled = {int(steps): jax.export.deserialize(program) for steps, program in programs.items()}
        longest, platforms, step = header["longest"], header["platforms"], int(header["step"])
        if (here := jax.export.default_export_platform()) not in platforms:
            raise UsageError(
                f"{Path(path).name} is for {', '.join(platforms)}, and this is {here}; export it for this platform"
            )
    except UsageError:
        raise
    except FileNotFoundError as error:
        raise UsageError(f"no file {str(path)!r}; experiments.export writes one") from error
    except Exception as error:  # zip, NumPy, JSON and jax each have their own
        raise UsageError(f"{damaged} ({one_line(error)}); export it again") from error

    def run(batch: Any) -> Any:
        leaves = jax.tree.leaves(batch)
        steps = leaves[0].shape[1]
        if steps not in compiled:
            raise UsageError(f"an input has more than {longest} steps, the most that {Path(path).name} takes")
        return jax.device_get(compiled[steps].call(weights, *leaves))

    return Predictor(task, step, run)
