"""Predict a chaotic series one step ahead, and let the model run freely on its own predictions."""

import dataclasses
import functools
import hashlib
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import NonNegativeFloat, PositiveInt, Section
from xlstm_jax.data.codecs import Numbers, padded, power_of_two
from xlstm_jax.data.problems.base import Problem, Rows
from xlstm_jax.data.problems.chaos import SYSTEMS, FreeRows, FreeRuns, trajectories
from xlstm_jax.data.series.pieces import Pieces
from xlstm_jax.data.series.table import is_table
from xlstm_jax.data.series.variables import VariablesCodec, own_series, own_table
from xlstm_jax.errors import UsageError
from xlstm_jax.models import SequenceModel, StackConfig
from xlstm_jax.models.autoregression import LinearAutoregression, least_squares
from xlstm_jax.models.heads import Head
from xlstm_jax.models.inputs import Features
from xlstm_jax.tasks.answering import Prompts
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio
from xlstm_jax.tasks.rows import RowsTask

VALID = 0.4  # error in standard deviations up to which a free run is valid
DIGITS = 6  # significant ones, of a continuation
LIMIT = 10.0  # standard deviations at which a free run is held, so that all its errors are finite


@dataclasses.dataclass(frozen=True)
class ChaosConfig(Section, name="data"):
    system: Literal["mackey_glass_17", "mackey_glass_30", "lorenz"] = "mackey_glass_17"  # what generates the series
    path: str = ""  # CSV file with a header, a column per variable and a row per step; "": a generated series
    series: PositiveInt = 64  # generated series for training, each from another initial state
    series_length: PositiveInt = 2000  # steps of a generated series
    warm_up: PositiveInt = 48  # first steps of each row, which are read and not scored
    sequence_length: PositiveInt = 80  # steps of a row after them
    free_steps: PositiveInt = 1000  # steps of a free run
    predicted: Literal["change", "value"] = (
        "change"  # what the model's outputs are: changes to the next step, or values
    )
    noise: NonNegativeFloat = 0.0  # standard deviation of the noise on the inputs in training; the series have 1
    batch_size: PositiveInt = 16
    evaluation_batches: PositiveInt = 16  # of each split that is scored


@dataclasses.dataclass(frozen=True)
class ChaosModelConfig(StackConfig, name="model"):
    """A model that predicts a series."""

    kind: Literal["stack", "linear"] = "stack"  # linear: autoregression by least squares, without the stack
    lags: PositiveInt = 32  # steps that linear autoregression reads
    embedding_std: NonNegativeFloat = 0.0  # initial standard deviation of the input's map; 0: sqrt(2 / (5 features))


@TASKS.register("chaos")
class Chaos(RowsTask):
    """Predict the next step of a chaotic series; then run freely: each prediction is the next input.

    The model predicts the change from a step to the next. With standardised variables x, their number D and the
    standard deviation s of their changes, the prediction is x_{t+1} = x_t + s y_t for the model's output y_t, and the
    loss is the mean of ((x_{t+1} - prediction) / s)^2. It is 1 for a model that predicts no change. With
    `data.predicted=value`, the prediction is y_t, s is 1, and the loss is 1 for a model that predicts the mean.

    The split "free" is scored once, by the best checkpoint: the model reads a row of true steps, as long as those of
    training, and then runs for `free_steps`. The error after k steps, e_k = |x - prediction| / sqrt(D), is in standard
    deviations of the series. E_k is its root mean square over all runs.

    Metrics: `nrmse`, the root mean square error one step ahead, in standard deviations. Of free runs also:

    - `doubling`, the first k with E_k > 2 E_1;
    - `valid_steps`, the median over runs of the number of steps before e_k exceeds 0.4, and `valid_time`, the same in
      Lyapunov times (Pathak et al. 2018, Chaos 28:041101);
    - `nrmse_84` of Mackey-Glass, which is E_84 (Jaeger & Haas 2004, Science 304:78).

    What did not happen within `free_steps` counts as `free_steps`.
    """

    Config, Model = ChaosConfig, ChaosModelConfig
    held_out = ("free",)
    unit = "squared errors per squared change"
    loss_at_chance = 1.0

    def __init__(self, config: ChaosConfig, codec: VariablesCodec | None = None):
        self.config = config
        self.codec = codec
        if codec is None:
            names, parts = self._series
            self.codec = VariablesCodec.of(names, parts["train"])

    @functools.cached_property
    def _series(self) -> tuple[tuple[str, ...], dict[str, np.ndarray]]:
        """Names of the variables, and the series [N, S, D] of each split, in their own units."""
        config = self.config
        longest = config.warm_up + config.sequence_length + config.free_steps
        if config.path:
            return own_series(config.path, longest)
        if config.series_length < longest:
            raise UsageError(
                f"data.series_length {config.series_length} is not allowed; must be at least {longest}, the sum of "
                "warm_up, sequence_length and free_steps"
            )
        parts = ("train", "validation", "free")
        sizes = {"count": config.series, "samples": config.series_length}
        return SYSTEMS[config.system].names, {
            name: trajectories(config.system, part, **sizes) for part, name in enumerate(parts)
        }

    @functools.cached_property
    def _problems(self) -> dict[str, Problem]:
        config, (_, parts) = self.config, self._series
        standard = {name: self.codec.scaling.standardized(series) for name, series in parts.items()}

        def pieces(split: str, noise: float) -> Pieces:
            x_NSD, length = standard[split], config.warm_up + config.sequence_length
            return Pieces(x_NSD[:, :-1], x_NSD[:, 1:], length=length, warm_up=config.warm_up, noise=noise)

        return {
            "train": pieces("train", config.noise),
            "validation": pieces("validation", 0.0),
            "free": FreeRuns(standard["free"], config.warm_up + config.sequence_length, config.free_steps),
        }

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> VariablesCodec:
        return VariablesCodec.from_json(data)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(repr(self.config).encode())
        for name, series_NSD in self._series[1].items() if self.config.path else ():
            digest.update(name.encode() + series_NSD.tobytes())
        return digest.hexdigest()

    def summary(self) -> str:
        names, parts = self._series
        count, steps, _ = parts["train"].shape
        what = self.config.path or self.config.system
        return f"{what}: {len(names)} variables ({', '.join(names)}), {count} series of {steps:,} steps for training"

    def build(self, config: ChaosModelConfig, *, rngs: nnx.Rngs) -> SequenceModel | LinearAutoregression:
        width = len(self.codec.scaling)
        if config.kind == "linear":
            return LinearAutoregression(*self._fitted(config.lags))
        sizes = {"dtype": config.dtype}
        return SequenceModel(
            config,
            lambda rngs: Features(width, config.features, std=config.embedding_std, rngs=rngs, **sizes),
            lambda rngs: Head(config.features, width, rngs=rngs, **sizes),
            rngs=rngs,
        )

    def _fitted(self, lags: int) -> tuple[np.ndarray, np.ndarray]:
        x_NSD = self.codec.scaling.standardized(self._series[1]["train"]).astype(np.float64)
        targets_NSD = (x_NSD[:, 1:] - self._kept * x_NSD[:, :-1]) / self._scale
        return least_squares(x_NSD[:, :-1], targets_NSD, lags)

    def forward(self, model: SequenceModel, batch: Rows | FreeRows, carry: Any, key: jax.Array | None) -> Outcome:
        if isinstance(batch, FreeRows):
            return self._scored_free(model, batch, carry)
        outputs_BTD, _ = model.unroll(batch.inputs_BT, key=key)
        return self._scored(batch.inputs_BT, outputs_BTD, batch.targets_BT, batch.mask_BT, carry)

    @property
    def _kept(self) -> float:
        """The share of a step in the prediction of the next."""
        return 1.0 if self.config.predicted == "change" else 0.0

    @property
    def _scale(self) -> np.ndarray:
        """What the outputs are multiplied by, [D], float32."""
        change_D = self.codec.change_D.astype(np.float32)
        return change_D if self.config.predicted == "change" else np.ones_like(change_D)

    def _scored(self, x_BTD, outputs_BTD, target_BTD, mask_BT, carry: Any) -> Outcome:
        """Loss and metrics one step ahead."""
        scale_11D = self._scale[None, None]
        error_BTD = (target_BTD - self._kept * x_BTD) / scale_11D - outputs_BTD
        count = jnp.sum(mask_BT, dtype=jnp.float32)

        def mean(square_BTD: jax.Array) -> Ratio:
            return Ratio(jnp.sum(jnp.where(mask_BT, jnp.mean(square_BTD, axis=-1), 0)), count)

        return Outcome(mean(error_BTD**2), {"mse": mean((error_BTD * scale_11D) ** 2)}, carry)

    def _scored_free(self, model: SequenceModel, batch: FreeRows, carry: Any) -> Outcome:
        """Scores the future one step ahead, from the truth, and as a free run."""
        warm_up, steps = batch.prefix_BPD.shape[1], batch.future_BKD.shape[1]
        x_BTD = jnp.concatenate([batch.prefix_BPD, batch.future_BKD], axis=1)
        outputs_BTD, _ = model.unroll(x_BTD[:, :-1])
        mask_BT = jnp.broadcast_to(jnp.arange(warm_up + steps - 1) >= warm_up - 1, outputs_BTD.shape[:2])
        outcome = self._scored(x_BTD[:, :-1], outputs_BTD, x_BTD[:, 1:], mask_BT, carry)
        square_BK = jnp.mean((self.free_run(model, batch.prefix_BPD, steps) - batch.future_BKD) ** 2, axis=-1)
        wrong_BK = square_BK > VALID**2
        valid_B = jnp.where(jnp.any(wrong_BK, axis=1), jnp.argmax(wrong_BK, axis=1), steps)
        runs = jnp.full((steps,), len(square_BK), jnp.float32)
        by_length_K = jnp.sum(jax.nn.one_hot(valid_B, steps, dtype=jnp.float32), axis=0)
        curves = {"free_mse": Ratio(jnp.sum(square_BK, axis=0), runs), "valid": Ratio(by_length_K, runs)}
        return outcome._replace(ratios=outcome.ratios | curves)

    def free_run(
        self, model: SequenceModel, prefix_BTD: jax.Array, steps: int, lengths_B: jax.Array | None = None
    ) -> jax.Array:
        """The model's continuation [B, steps, D] of standardised beginnings; each prediction is its next input."""
        outputs_BTD, state = model.unroll(prefix_BTD, lengths=lengths_B)

        def after(x_BD: jax.Array, output_BD: jax.Array) -> jax.Array:
            predicted_BD = self._kept * x_BD + self._scale[None] * output_BD.astype(jnp.float32)
            return jnp.clip(predicted_BD, -LIMIT, LIMIT)

        def step(before: tuple[Any, jax.Array], _: None) -> tuple[tuple[Any, jax.Array], jax.Array]:
            state, x_BD = before
            outputs_B1D, state = model.unroll(x_BD[:, None], state)
            return (state, after(x_BD, outputs_B1D[:, 0])), x_BD

        first_BD = after(_last(prefix_BTD, lengths_B), _last(outputs_BTD, lengths_B))
        _, run_KBD = jax.lax.scan(step, (state, first_BD), None, length=steps)
        return jnp.swapaxes(run_KBD, 0, 1)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        result = {"nrmse": math.sqrt(ratios["mse"].value), "tokens": float(ratios["loss"].count)}
        if "free_mse" not in ratios:
            return result
        error_K, steps = np.sqrt(ratios["free_mse"].value), len(ratios["free_mse"].total)
        doubled_K = error_K > 2 * error_K[0]
        result["doubling"] = float(np.argmax(doubled_K) + 1 if doubled_K.any() else steps)
        reached_K = np.cumsum(ratios["valid"].value) >= 0.5
        result["valid_steps"] = float(np.argmax(reached_K) if reached_K.any() else steps)
        if not self.config.path:
            system = SYSTEMS[self.config.system]
            result["valid_time"] = result["valid_steps"] * system.interval * system.exponent
            if 0 < system.ahead <= steps:
                result[f"nrmse_{system.ahead}"] = float(error_K[system.ahead - 1])
        return result

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        """The loss of a good model would be 0.0000 with four digits."""
        del carry
        names = [name for name in result if name not in ("loss", "mse", "tokens")]
        others = ", ".join(f"{name.replace('_', ' ')} {result[name]:.4g}" for name in names)
        return f"{split} loss {result['loss']:.3g} {self.unit}, {others} ({result['tokens']:,.0f} steps)"

    def read(self, text: str) -> np.ndarray:
        """The beginning of a series: numbers, or the path of a CSV file with the variables' columns."""
        scaling = self.codec.scaling
        values_TD = own_table(text, scaling.names)[1] if is_table(text) else Numbers(len(scaling)).encode(text)
        if len(values_TD) < 2:
            raise UsageError("the input has one step; give at least 2, and better as many as in training")
        return scaling.standardized(values_TD)

    def blank(self, length: int) -> np.ndarray:
        return np.zeros((length, len(self.codec.scaling)), np.float32)

    def collate(self, examples: list[np.ndarray]) -> Prompts:
        time = power_of_two(max(map(len, examples)))
        inputs_BTD, lengths_B = padded(examples, multiple_of=time)
        return Prompts(inputs_BTD, lengths_B, np.zeros((len(examples), time), np.int32))

    def predict(self, model: SequenceModel, batch: Prompts) -> jax.Array:
        return self.free_run(model, batch.inputs_BT, batch.room_BS.shape[1], batch.lengths_B)

    def render(self, predicted: np.ndarray, example: np.ndarray) -> dict[str, Any]:
        """As many steps as were given."""
        values_KD = self.codec.scaling.restored(predicted[: len(example)])
        rounded = [[float(f"{value:.{DIGITS}g}") for value in step] for step in values_KD]
        return {"continuation": [step[0] for step in rounded] if values_KD.shape[1] == 1 else rounded}

    def draw(self, axes: Any, answer: dict[str, Any], example: np.ndarray) -> None:
        scaling = self.codec.scaling
        known_TD, continued_KD = scaling.restored(example), np.array(answer["continuation"]).reshape(-1, len(scaling))
        steps = np.arange(-len(known_TD) + 1, len(continued_KD) + 1)
        for number, name in enumerate(scaling.names):
            line_K = [known_TD[-1, number], *continued_KD[:, number]]
            axes.plot(steps[: len(known_TD)], known_TD[:, number], color=f"C{number}", lw=1, label=name)
            axes.plot(steps[len(known_TD) - 1 :], line_K, color=f"C{number}", lw=1.3, ls="--")
        axes.axvline(0, color="black", lw=0.8)
        axes.set_xlabel("steps from the present")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False, fontsize=8, ncols=3, loc="upper left")


def _last(x_BTD: jax.Array, lengths_B: jax.Array | None) -> jax.Array:
    """The last step of each row, [B, D]."""
    if lengths_B is None:
        return x_BTD[:, -1]
    return jnp.take_along_axis(x_BTD, (lengths_B - 1)[:, None, None], axis=1)[:, 0]
