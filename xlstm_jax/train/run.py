"""What a config describes, built: the task, the model, the optimizer, and the functions that are compiled."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from xlstm_jax.config import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    Section,
    Seed,
    check_value,
    from_section,
)
from xlstm_jax.errors import UsageError
from xlstm_jax.models import LanguageModel, ModelConfig, build_model, check_context
from xlstm_jax.sharding import MeshConfig, make_mesh
from xlstm_jax.tasks import TASKS, Task
from xlstm_jax.train.accumulate import accumulated, check_parts
from xlstm_jax.train.optimizer import OptimizerConfig, learned, make_optimizer, updates_made
from xlstm_jax.train.placement import Placement


@dataclasses.dataclass(frozen=True)
class TrainConfig(Section, name="train"):
    steps: PositiveInt = 1000
    accumulate: PositiveInt = 1  # equal parts of a batch's rows, read one after another; their gradients make one step
    log_every: PositiveInt = 10  # steps between lines in metrics.jsonl
    eval_every: PositiveInt = 100  # steps between evaluations; each one is followed by a checkpoint
    keep: PositiveInt = 2  # latest checkpoints kept, beside the best one
    # Steps in a row whose loss or gradient is not finite and that change nothing; one more ends the run.
    max_skipped: NonNegativeInt = 10
    peak_flops: NonNegativeFloat = 0.0  # of one device, FLOP/s, for train/utilisation; 0: by its name, where known


@dataclasses.dataclass(frozen=True)
class EvaluationConfig(Section, name="evaluation"):
    carry: bool = False  # pass the state from window to window; else every window starts empty


@dataclasses.dataclass(frozen=True)
class SampleConfig(Section, name="sample"):
    prompt: str = ""  # "": the start of the validation text
    length: NonNegativeInt = 200  # tokens; 0: no sample
    temperature: NonNegativeFloat = 0.8


PARSED = {
    "model": ModelConfig,
    "optimizer": OptimizerConfig,
    "train": TrainConfig,
    "evaluation": EvaluationConfig,
    "sample": SampleConfig,
    "mesh": MeshConfig,
}
SECTIONS = ("task", "seed", "data", *PARSED)
MOST_PARAMETERS = 10**14  # far beyond any memory; from 2**61 values of an array on XLA ends the process
PROMPT_TOKENS = 20  # of the validation text, where no prompt is given


def defaults(task: str) -> dict[str, Any]:
    """The values of every section's keys where a config gives none."""
    sections = {"data": TASKS.get(task).Config, **PARSED}
    return {name: dataclasses.asdict(section()) for name, section in sections.items()}


class TrainState(NamedTuple):
    """All that training changes; with the data's position it is all that a resumed run needs."""

    step: jax.Array  # int32, steps done
    params: Any
    opt_state: optax.OptState
    carry: Any  # the model's carry after the last batch, or None where batches start afresh


class Run:
    """A config, built.

    Args:
        config: a mapping with the sections of `configs/base.py`.
        tokenizer: that of a saved run; None makes one from the data.
        model_config: of weights that come from elsewhere; None: the section `model` and the tokenizer's vocabulary.

    Raises:
        UsageError: an unknown section or key, or values that cannot work.
    """

    def __init__(self, config: Mapping[str, Any], tokenizer: Any = None, model_config: ModelConfig | None = None):
        for name in config:
            if name not in SECTIONS:
                raise UsageError(f"config section {name!r} is unknown; known: {', '.join(SECTIONS)}")
        # Every value is checked here, before any data are read.
        check_value(Seed, config["seed"], "seed")
        self.seed, task = config["seed"], TASKS.get(config["task"])
        data = from_section(task.Config, config["data"], "data")
        sections = {name: from_section(parsed, config[name], name) for name, parsed in PARSED.items()}
        self.train, self.evaluation, self.sample = (sections[name] for name in ("train", "evaluation", "sample"))
        self.optimizer, self.schedule = make_optimizer(sections["optimizer"], self.train.steps)
        model = sections["model"]
        check_parts(data.batch_size, self.train.accumulate)
        mesh = make_mesh(sections["mesh"])
        self.task: Task = task(data, tokenizer)
        self.model_config = model_config or dataclasses.replace(model, **self.task.model_fields())
        if self.sample.length and tokenizer is None:
            if self.task.tokenizer.kind == "none":
                raise UsageError(
                    f"sample.length {self.sample.length} asks for a text, and the data of task {config['task']!r} are "
                    "none; set it to 0"
                )
            self.task.tokenizer.encode(self.sample_prompt)  # characters outside the vocabulary show now, not at the end
        # Abstract: no weights are made until `init`.
        abstract = nnx.eval_shape(lambda: build_model(self.model_config))
        self.graphdef, parameters = nnx.split(abstract)
        if (count := parameter_count(parameters)) > MOST_PARAMETERS:
            raise UsageError(
                f"the section model asks for {count:.1e} parameters, and there can be {MOST_PARAMETERS:.0e} at most; "
                f"lower model.features {self.model_config.features}, or the widths of its blocks"
            )
        check_context(self.model_config, mesh.shape["context"])
        sizes = {"batch_size": data.batch_size, "sequence_length": data.sequence_length}
        self.placement = Placement(mesh, parameters, **sizes)

    @property
    def sample_prompt(self) -> str:
        """What the sample at the end goes on from."""
        if self.sample.prompt:
            return self.sample.prompt
        tokens = self.task.splits["validation"][:PROMPT_TOKENS]
        # Special tokens have no bytes, and no text to go on from.
        return self.task.tokenizer.decode(tokens[self.task.tokenizer.bytes_per_token[tokens] > 0])

    def model(self, params: Any) -> LanguageModel:
        """The model that holds `params`."""
        return nnx.merge(self.graphdef, params)

    def _make(self) -> TrainState:
        model = build_model(self.model_config, rngs=nnx.Rngs(self.seed))
        params = nnx.to_pure_dict(nnx.split(model)[1])
        carry = model.init_carry(self.task.config.batch_size) if self.task.passes_carry else None
        return TrainState(jnp.zeros((), jnp.int32), params, self.optimizer.init(params), carry)

    @functools.cached_property
    def abstract_state(self) -> TrainState:
        """The state's shapes, dtypes and places."""
        abstract = jax.eval_shape(self._make)
        shardings = self.placement.state(abstract, self.optimizer)
        return jax.tree.map(lambda a, s: jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=s), abstract, shardings)

    @property
    def _state_shardings(self) -> TrainState:
        return jax.tree.map(lambda leaf: leaf.sharding, self.abstract_state)

    def init(self) -> TrainState:
        """The state before the first step, a function of the seed whatever the mesh, made where it lies."""
        return jax.jit(self._make, out_shardings=self._state_shardings)()

    @functools.cached_property
    def step(self):
        """`train_step`, compiled; the state given is used up."""
        shardings = self._state_shardings, self.placement.replicated
        return jax.jit(self.train_step, donate_argnums=0, out_shardings=shardings)

    def train_batches(self) -> grain.DatasetIterator:
        """This process's part of the training batches, from the first on."""
        return iter(self.task.train_dataset(self.seed, rows=self.placement.rows))

    def train_step(self, state: TrainState, batch: Any) -> tuple[TrainState, dict[str, jax.Array]]:
        """One step, pure, to be compiled: the new state, and loss, gradient norm and learning rate of this step.

        Where loss or gradient norm is not finite the step is skipped: it counts, and all else stays as it was. The
        metric `skipped` is the number of such steps up to now; the schedule does not move on in them.
        """
        key = jax.random.fold_in(jax.random.key(self.seed), state.step)

        def loss_fn(params, batch, carry, key):
            return self.task.loss(self.model(self.placement.gathered(params)), batch, carry, key)

        gradients, weight, parts = jax.value_and_grad(loss_fn, has_aux=True), self.task.weight, self.train.accumulate
        (loss, carry), grads = accumulated(gradients, weight, parts, state.params, batch, state.carry, key)
        updates, opt_state = self.optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        carry = carry if self.task.passes_carry else None
        grad_norm = optax.tree.norm(learned(grads))
        finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
        kept = jax.tree.map(
            lambda new, old: jnp.where(finite, new, old),
            (params, opt_state, carry),
            (state.params, state.opt_state, state.carry),
        )
        after = TrainState(state.step + 1, *kept)
        metrics = {
            "loss": loss,
            "grad_norm": grad_norm,
            "learning_rate": self.schedule(updates_made(state.opt_state)),
            "skipped": after.step - updates_made(after.opt_state),
        }
        return after, metrics

    def evaluate(self, params: Any, split: str, *, carry: bool) -> dict[str, float]:
        """Metrics over a whole split; with `carry` the state passes from window to window, else each starts empty."""
        sums: dict[str, Any] = {}
        state = self._first_carry(params) if carry else None
        for batch in self.task.evaluation_dataset(split, carry=carry, rows=self.placement.rows):
            batch_sums, state = self._score(params, self.placement.batch(batch), state)
            state = state if carry else None
            # Added up in float64: float32 sums would lose digits over a long split.
            for name, value in jax.device_get(batch_sums).items():
                sums[name] = sums.get(name, 0.0) + np.asarray(value, np.float64)
        return self.task.summarise(sums)

    @functools.cached_property
    def _score(self):
        def score(params, batch, carry):
            return self.task.score(self.model(self.placement.gathered(params)), batch, carry)

        return jax.jit(score, out_shardings=(self.placement.replicated, None))

    def _first_carry(self, params: Any) -> Any:
        def make(params):
            return self.model(params).init_carry(self.task.config.batch_size)

        return jax.jit(make, out_shardings=self.placement.carry(jax.eval_shape(make, params)))(params)


def parameter_count(params: Any) -> int:
    """Number of values in all leaves."""
    return sum(leaf.size for leaf in jax.tree.leaves(params))
