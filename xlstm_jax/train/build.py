"""What a config describes, built: task, model, optimizer, and where their arrays lie."""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import optax
from flax import nnx

from xlstm_jax.errors import UsageError
from xlstm_jax.models import StackConfig, check_context
from xlstm_jax.sharding import make_mesh
from xlstm_jax.tasks import Task
from xlstm_jax.train.accumulate import check_parts
from xlstm_jax.train.optimizer import ParameterKinds, make_optimizer
from xlstm_jax.train.placement import Placement
from xlstm_jax.train.sections import Sections, parse
from xlstm_jax.train.workdir.borrowed import kept_lender, lender

MOST_PARAMETERS = 10**14  # far beyond any memory; from 2**61 values of an array on XLA ends the process


@dataclasses.dataclass(frozen=True, eq=False)
class Parts:
    """Everything that training and evaluation are made of.

    Attributes:
        sections: the config.
        task: the task, with its data read.
        graphdef: the model without its parameters.
        kinds: what the optimizer must know of each parameter.
        optimizer: the gradient transformation, with its schedule and clipping.
        schedule: the learning rate by the number of updates made.
        placement: the mesh, and where each array lies on it.
    """

    sections: Sections
    task: Task
    graphdef: Any
    kinds: ParameterKinds
    optimizer: optax.GradientTransformation
    schedule: optax.Schedule
    placement: Placement

    @functools.cached_property
    def example(self) -> Any:
        """The first training batch, as shapes."""
        batch = next(iter(self.task.train_batches(self.sections.seed)))
        return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype), batch)

    def model(self, params: Any) -> nnx.Module:
        """The model that holds `params`."""
        return nnx.merge(self.graphdef, params)

    def new_params(self) -> Any:
        """Freshly initialised parameters, a function of the seed."""
        model = self.task.build(self.sections.model, rngs=nnx.Rngs(self.sections.seed))
        return nnx.to_pure_dict(nnx.split(model)[1])


def build(
    config: Mapping[str, Any], codec: Any = None, model: StackConfig | None = None, *, workdir: Path | None = None
) -> Parts:
    """Reads the data and puts the parts together; no array of the model is made yet.

    Args:
        config: a mapping with the sections of `configs/base.py`.
        codec: that of a saved run; None makes one from the data.
        model: config of weights that come from elsewhere, instead of the section `model`.
        workdir: where training is to begin or to go on; a run there has kept what it borrowed.

    Raises:
        UsageError: an unknown section or key, or values that cannot work.
    """
    sections = parse(config)
    if model is not None:
        sections = dataclasses.replace(sections, model=model)
    sections.model.layers  # noqa: B018  an unknown block shows before the data are read
    batch_size = sections.data.batch_size
    check_parts(batch_size, sections.train.accumulate)
    mesh = make_mesh(sections.mesh)
    make_optimizer(sections.optimizer, sections.train.steps, None)
    borrows = codec is None and (loan := sections.task.borrowed(sections.data))
    kept = workdir and borrows and kept_lender(workdir, sections.task)
    task = sections.task(sections.data, codec, **({"lender": kept or lender(loan)} if borrows else {}))
    if codec is None:
        task.check_example(sections.sample)
    abstract = nnx.eval_shape(lambda: task.build(sections.model, rngs=nnx.Rngs(0)))
    graphdef, parameters = nnx.split(abstract)
    if (count := parameter_count(parameters)) > MOST_PARAMETERS:
        raise UsageError(
            f"the section model asks for {count:.1e} parameters, and there can be at most {MOST_PARAMETERS:.0e}; "
            f"lower model.features {sections.model.features}, or the widths of its blocks"
        )
    check_context(sections.model, mesh.shape["context"])
    kinds = ParameterKinds.of(parameters)
    optimizer, schedule = make_optimizer(sections.optimizer, sections.train.steps, kinds)
    placement = Placement(mesh, parameters, task.axes, batch_size)
    parts = Parts(sections, task, graphdef, kinds, optimizer, schedule, placement)
    if mesh.shape["context"] > 1:
        placement.check(parts.example)
    if sections.evaluation.carry:  # a task without a carry says so now, not at the first evaluation
        nnx.eval_shape(lambda model: task.init_carry(model, batch_size), abstract)
    return parts


def parameter_count(params: Any) -> int:
    """Number of values in all leaves."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
