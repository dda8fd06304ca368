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
from xlstm_jax.data.codecs import padded, power_of_two
from xlstm_jax.data.problems.base import Problem, Rows
from xlstm_jax.data.problems.chaos import SYSTEMS, FreeRows, FreeRuns, trajectories
from xlstm_jax.data.series.continuation import draw_continuation
from xlstm_jax.data.series.pieces import Pieces
from xlstm_jax.data.series.variables import VariablesCodec, own_series
from xlstm_jax.errors import UsageError
from xlstm_jax.models import SequenceModel
from xlstm_jax.models.autoregression import LinearAutoregression, least_squares
from xlstm_jax.models.free_run import Update, free_run
from xlstm_jax.models.predictor import PredictorConfig, stack_predictor
from xlstm_jax.tasks import free_run_scores
from xlstm_jax.tasks.answering import Prompts
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio
from xlstm_jax.tasks.rows import RowsTask

DIGITS = 6  # significant ones, of a continuation


@dataclasses.dataclass(frozen=True)
class ChaosConfig(Section, name="data"):
    system: Literal["mackey_glass_17", "mackey_glass_30", "lorenz"] = "mackey_glass_17"  # what generates the series
    path: str = ""  # CSV file with a header, a column per variable and a row per step; "": a generated series
    series: PositiveInt = 64  # generated series for training, each from another initial state
    series_length: PositiveInt = 2000  # steps of a generated series
    warm_up: PositiveInt = 48  # first steps of each row, which are read and not scored
    sequence_length: PositiveInt = 80  # steps of a row after them
    free_steps: PositiveInt = 1000  # steps of a free run
    predicted: Literal["change", "value"] = "change"  # what the outputs are: changes to the next step, or values
    noise: NonNegativeFloat = 0.0  # standard deviation of the noise on the inputs in training; the series have 1
    batch_size: PositiveInt = 16
    evaluation_batches: PositiveInt = 16  # of each split that is scored


@TASKS.register("chaos")
class Chaos(RowsTask):
    """Predict the next step of a chaotic series; then run freely: each prediction is the next input.

    The model predicts the change from a step to the next. With standardised variables x, their number D and the
    standard deviation s of their changes, the prediction is x_{t+1} = x_t + s y_t for the model's output y_t, and the
    loss is the mean of ((x_{t+1} - prediction) / s)^2. It is 1 for a model that predicts no change. With
    `data.predicted=value`, the prediction is y_t, s is 1, and the loss is 1 for a model that predicts the mean.

    The split "free" is scored once, by the best checkpoint: the model reads a row of true steps, as long as those of
    training, and then runs for `free_steps`.

    Metrics: `nrmse`, the root mean square error one step ahead, in standard deviations. Of free runs also `doubling`,
    `valid_steps`, `valid_time` and, of Mackey-Glass, `nrmse_84`: see `tasks.free_run_scores`.
    """

    Config, Model = ChaosConfig, PredictorConfig
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

    def build(self, config: PredictorConfig, *, rngs: nnx.Rngs) -> SequenceModel | LinearAutoregression:
        if config.kind == "linear":
            return LinearAutoregression(*self._fitted(config.lags))
        return stack_predictor(config, len(self.codec.scaling), rngs=rngs)

    def _fitted(self, lags: int) -> tuple[np.ndarray, np.ndarray]:
        x_NSD = self.codec.scaling.standardized(self._series[1]["train"]).astype(np.float64)
        if lags >= x_NSD.shape[1]:
            raise UsageError(
                f"model.lags {lags} is not less than the {x_NSD.shape[1]} steps of a training series; lower it"
            )
        return least_squares(x_NSD[:, :-1], self._update.output(x_NSD[:, :-1], x_NSD[:, 1:]), lags)

    def forward(self, model: SequenceModel, batch: Rows | FreeRows, carry: Any, key: jax.Array | None) -> Outcome:
        if isinstance(batch, FreeRows):
            return self._scored_free(model, batch, carry)
        outputs_BTD, _ = model.unroll(batch.inputs_BT, key=key)
        return self._scored(batch.inputs_BT, outputs_BTD, batch.targets_BT, batch.mask_BT, carry)

    @functools.cached_property
    def _update(self) -> Update:
        change_D = self.codec.change_D.astype(np.float32)
        return Update(1.0, change_D) if self.config.predicted == "change" else Update(0.0, np.ones_like(change_D))

    def _scored(self, x_BTD, outputs_BTD, target_BTD, mask_BT, carry: Any) -> Outcome:
        """Loss and metrics one step ahead."""
        error_BTD = self._update.output(x_BTD, target_BTD) - outputs_BTD
        count = jnp.sum(mask_BT, dtype=jnp.float32)

        def mean(square_BTD: jax.Array) -> Ratio:
            return Ratio(jnp.sum(jnp.where(mask_BT, jnp.mean(square_BTD, axis=-1), 0)), count)

        mse = mean((error_BTD * self._update.scale_D[None, None]) ** 2)
        return Outcome(mean(error_BTD**2), {"mse": mse}, carry)

    def _scored_free(self, model: SequenceModel, batch: FreeRows, carry: Any) -> Outcome:
        """Scores the future one step ahead, from the truth, and as a free run."""
        warm_up, steps = batch.prefix_BPD.shape[1], batch.future_BKD.shape[1]
        x_BTD = jnp.concatenate([batch.prefix_BPD, batch.future_BKD], axis=1)
        outputs_BTD, _ = model.unroll(x_BTD[:, :-1])
        mask_BT = jnp.broadcast_to(jnp.arange(warm_up + steps - 1) >= warm_up - 1, outputs_BTD.shape[:2])
        outcome = self._scored(x_BTD[:, :-1], outputs_BTD, x_BTD[:, 1:], mask_BT, carry)
        run_BKD = self.free_run(model, batch.prefix_BPD, steps)
        return outcome._replace(ratios=outcome.ratios | free_run_scores.score_sums(run_BKD, batch.future_BKD))

    def free_run(
        self, model: SequenceModel, prefix_BTD: jax.Array, steps: int, lengths_B: jax.Array | None = None
    ) -> jax.Array:
        """The model's continuation [B, steps, D] of standardised beginnings; each prediction is its next input."""
        return free_run(model, prefix_BTD, steps, self._update, lengths_B)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        result = {"nrmse": math.sqrt(ratios["mse"].value), "tokens": float(ratios["loss"].count)}
        if "free_mse" in ratios:
            system = None if self.config.path else SYSTEMS[self.config.system]
            result |= free_run_scores.derived(ratios, system)
        return result

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        """The loss of a good model would be 0.0000 with four digits."""
        del carry
        names = [name for name in result if name not in ("loss", "mse", "tokens")]
        others = ", ".join(f"{name.replace('_', ' ')} {result[name]:.4g}" for name in names)
        return f"{split} loss {result['loss']:.3g} {self.unit}, {others} ({result['tokens']:,.0f} steps)"

    def read(self, text: str) -> np.ndarray:
        """The beginning of a series: numbers, or the path of a CSV file with the variables' columns."""
        values_TD = self.codec.encode(text)
        if len(values_TD) < 2:
            raise UsageError("the input has one step; give at least 2, and better as many as in training")
        return self.codec.scaling.standardized(values_TD)

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
        following_KD = np.reshape(answer["continuation"], (-1, len(scaling)))
        draw_continuation(axes, scaling.names, scaling.restored(example), following_KD)
