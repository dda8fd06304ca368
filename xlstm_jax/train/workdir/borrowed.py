"""Parameters that a run takes over from another run: read once, and from then on kept in its own checkpoints."""

import contextlib
import functools
import json
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from xlstm_jax.errors import UsageError
from xlstm_jax.tasks import TASKS, Loan, Task
from xlstm_jax.train.sections import parse
from xlstm_jax.train.workdir.checkpoint import Checkpoints
from xlstm_jax.train.workdir.folder import CODEC, CONFIG, read_config

Lender = tuple[Any, dict[str, Any]]  # the codec and the section `model` of the run that parameters are from


@contextlib.contextmanager
def opened(key: str, workdir: str, task: type[Task]) -> Iterator[tuple[Lender, Callable[[Any], Any]]]:
    """A run of the task, and what restores its best parameters in the form of a tree.

    Raises:
        UsageError: there is none in the folder, it is of another task, or its best checkpoint is damaged; the message
            begins with the config's key.
    """
    path, name = Path(workdir) / CONFIG, TASKS.name_of(task)
    if not path.is_file():
        raise UsageError(f"{key} {workdir!r} holds no run (no {CONFIG}); give the workdir of a run of task {name}")
    config = read_config(path)
    if parse(config).task is not task:
        raise UsageError(f"{key} {workdir!r} holds a run of another task, {config['task']}; give one of task {name}")
    with Checkpoints(Path(workdir), best=task.best, read_only=True) as checkpoints:
        step = checkpoints.select("best")
        codec = task.codec_from_json(checkpoints.codec(step))
        yield (codec, config["model"]), functools.partial(checkpoints.restore_params, step)


def _opened(loan: Loan) -> contextlib.AbstractContextManager[tuple[Lender, Callable[[Any], Any]]]:
    return opened(loan.key, loan.workdir, TASKS.get(loan.task))


def lender(loan: Loan) -> Lender:
    """The run that a task borrows from.

    Raises:
        UsageError: there is none in the folder, it is of another task, or its best checkpoint is damaged.
    """
    with _opened(loan) as (found, _):
        return found


def kept_lender(workdir: Path, task: type[Task]) -> Lender | None:
    """What the run in a workdir has kept of its lender, which may be gone; None if there is no such run."""
    try:
        codec = task.codec_from_json(json.loads((workdir / CODEC).read_text(encoding="utf-8")))
    except (OSError, ValueError, UsageError):  # none yet, or damaged: the lender is asked again
        return None
    return getattr(codec, "lent", None)


def with_borrowed(params: Any, loan: Loan, kept: Lender) -> Any:
    """The parameters, those of `loan.place` as in the best checkpoint of the run they are from.

    Args:
        params: freshly initialised, where they are to lie.
        kept: what the codec says of the lender.

    Raises:
        UsageError: as `lender`, or the folder holds another run by now.
    """
    with _opened(loan) as ((codec, model), restored):
        if (codec.to_json(), model) != (kept[0].to_json(), kept[1]):
            raise UsageError(
                f"{loan.key} {loan.workdir!r} holds another run than when this one began; use another workdir"
            )
        found = restored(_at(loan.part, _part(params, loan.place)))
    return _replaced(params, loan.place, _part(found, loan.part))


def _part(tree: Any, path: tuple[str, ...]) -> Any:
    """What a tree has at a path."""
    return functools.reduce(operator.getitem, path, tree)


def _at(path: tuple[str, ...], tree: Any) -> Any:
    """A tree that has the given one at a path."""
    return {path[0]: _at(path[1:], tree)} if path else tree


def _replaced(tree: Any, path: tuple[str, ...], new: Any) -> Any:
    """The tree with a part replaced."""
    return tree | {path[0]: _replaced(tree[path[0]], path[1:], new)} if path else new
