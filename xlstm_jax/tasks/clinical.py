"""Predict whether a patient in intensive care dies in hospital, from the measurements of the first 48 hours."""

import dataclasses
import functools
import hashlib
import math
import re
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from xlstm_jax.config import Bounds, PositiveInt, Section
from xlstm_jax.data.batches import ALL_ROWS, checked_seed, dataset
from xlstm_jax.data.codecs import padded, power_of_two
from xlstm_jax.data.series.stays import physionet
from xlstm_jax.data.series.stays.codec import VARIABLES, WINDOW, StayCodec, binned, steps_of
from xlstm_jax.data.series.stays.records import HEADER, parse_record, read_record
from xlstm_jax.data.series.stays.rows import EvaluationStays, StayRows, Stays, TrainStays, fold_parts
from xlstm_jax.errors import UsageError
from xlstm_jax.models.classifier import Prior
from xlstm_jax.models.stays import StatisticsClassifier, StayClassifier, StayClassifierConfig
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio, Task, unknown_split
from xlstm_jax.tasks.ranking import average_precision, roc_auc

TENTHS = 10  # groups of stays of which risks are compared with frequencies
UNUSUAL, MOST_SHOWN = 2.0, 5  # standard deviations from the mean; values shown with an answer
Model = StayClassifier | StatisticsClassifier | Prior


@dataclasses.dataclass(frozen=True)
class ClinicalConfig(Section, name="data"):
    path: str = ""  # folder with Outcomes.txt and a record RecordID.txt for each stay; "": set a of the Challenge 2012
    fold: Literal[0, 1, 2, 3, 4] = 0  # the fifth of all stays that is the test split
    hours: Annotated[float, Bounds(over=0, most=WINDOW)] = 1.0  # length of a step
    batch_size: PositiveInt = 64  # stays in a batch


@TASKS.register("clinical")
class Clinical(Task):
    """Death in hospital; cross-entropy, area under the ROC curve, average precision. One fold of a cross-validation.

    The areas are not ratios of sums. Therefore the logits of all stays are one vector, to which each batch adds those
    of its stays, and the areas are computed exactly from the whole vector.
    """

    Config, Model = ClinicalConfig, StayClassifierConfig
    best = ("auc", "higher")
    held_out = ("test",)
    unit = "nats per stay"
    loss_at_chance = math.log(2)

    def __init__(self, config: ClinicalConfig, codec: StayCodec | None = None):
        self.config = config
        self.codec = codec
        if codec is None:
            train = self.splits["train"]
            self.codec = StayCodec.of(float(config.hours), self._values_NTF[train], self._stays.died_N[train])
            self.train_batches(seed=0)  # too few stays show before anything is built

    @functools.cached_property
    def _stays(self) -> physionet.Stays:
        return physionet.read_folder(self.config.path) if self.config.path else physionet.set_a()

    @functools.cached_property
    def _values_NTF(self) -> np.ndarray:
        return np.stack([binned(record, self.config.hours) for record in self._stays.records])

    @functools.cached_property
    def _rows(self) -> StayRows:
        return StayRows(self.codec.encode(self._values_NTF), self._stays.died_N)

    @functools.cached_property
    def splits(self) -> dict[str, np.ndarray]:
        return fold_parts(self._stays.died_N, self.config.fold)

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> StayCodec:
        return StayCodec.from_json(data)

    def fingerprint(self) -> str:
        digest = hashlib.sha256(self._values_NTF.tobytes() + self._stays.died_N.tobytes())
        return digest.hexdigest()

    def summary(self) -> str:
        sizes = (f"{name} {len(part):,} ({self._stays.died_N[part].sum():,})" for name, part in self.splits.items())
        steps = f"{steps_of(self.config.hours)} steps of {self.config.hours:g} hours"
        return f"stays (deaths): {', '.join(sizes)}; {len(VARIABLES)} variables in {steps}"

    def build(self, config: StayClassifierConfig, *, rngs: nnx.Rngs) -> Model:
        if config.reads == "nothing":
            return Prior(1)
        kind = StatisticsClassifier if config.reads == "statistics" else StayClassifier
        return kind(config, len(VARIABLES), rngs=rngs)

    def train_batches(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        return dataset(TrainStays(self._rows, self.splits["train"], seed=checked_seed(seed), **self._shape(rows)))

    def batches(self, split: str, *, carry: bool = False, rows: slice = ALL_ROWS) -> grain.IterDataset:
        del carry
        if split not in self.splits:
            raise unknown_split(split, self.splits)
        return dataset(EvaluationStays(self._rows, self.splits[split], **self._shape(rows)))

    def _shape(self, rows: slice) -> dict[str, Any]:
        return {"batch_size": self.config.batch_size, "part": rows}

    def forward(self, model: Model, batch: Stays, carry: Any, key: jax.Array | None) -> Outcome:
        row_B = batch.lengths_B > 0
        count = jnp.sum(row_B, dtype=jnp.float32)
        share = model.config.replication if key is not None and isinstance(model, StayClassifier) else 0.0
        if share:
            logit_BT = model.at_each_step(batch.inputs_BTD, batch.lengths_B, key)
            nats_BT = _nats(logit_BT, jnp.broadcast_to(batch.died_B[:, None], logit_BT.shape))
            # All rows have as many steps; those of empty rows are masked.
            nats_B = share * jnp.mean(nats_BT, axis=1) + (1 - share) * nats_BT[:, -1]
            return Outcome(Ratio(jnp.sum(jnp.where(row_B, nats_B, 0)), count), {}, carry)
        logit_B = model.classify(batch.inputs_BTD, batch.lengths_B, key)[:, 0]
        nats_B = jnp.where(row_B, _nats(logit_B, batch.died_B), 0)
        zeros_N = jnp.zeros((len(self._stays.ids),), jnp.float32)
        place_B = (batch.row_B,)  # that of an empty row is beyond the last stay, and dropped
        logit = Ratio(
            zeros_N.at[place_B].set(logit_B.astype(jnp.float32), mode="drop"), zeros_N.at[place_B].set(1, mode="drop")
        )
        return Outcome(Ratio(jnp.sum(nats_B), count), {"logit": logit}, carry)

    def _scored(self, ratios: Mapping[str, Ratio]) -> tuple[np.ndarray, np.ndarray]:
        """Logits and outcomes of the stays that were scored."""
        there_N = np.asarray(ratios["logit"].count) > 0
        return np.asarray(ratios["logit"].total)[there_N], self._stays.died_N[there_N]

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        logits, died = self._scored(ratios)
        areas = {"auc": roc_auc(logits, died), "average_precision": average_precision(logits, died)}
        return areas | {"stays": float(ratios["loss"].count)}

    def calibration(self, ratios: Mapping[str, Ratio]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """The mean risk, and the share of deaths, of each tenth of the stays, by increasing risk."""
        logits, died = self._scored(ratios)
        tenths = np.array_split(np.argsort(logits, kind="stable"), TENTHS)
        risks = 1 / (1 + np.exp(-logits))
        return {"risk of death": tuple(np.array([x[tenth].mean() for tenth in tenths]) for x in (risks, died))}

    def read(self, text: str) -> np.ndarray:
        """A record from its path, or from its content, whose lines may be separated by semicolons."""
        written = text.strip()
        if not written:
            raise UsageError("the input is empty; give the path of a record, or its content")
        if re.match(r"Time\s*,|\d+:\d+\s*,", written):
            lines = re.split(r"[;\n]", written)
            content = "\n".join(lines if lines[0].startswith("Time") else [HEADER, *lines])
            record = parse_record(content)
        else:
            record = read_record(written)
        return self.codec.encode(binned(record, self.codec.hours))

    def blank(self, length: int) -> np.ndarray:
        return np.zeros((length, 3 * len(VARIABLES)), np.float32)

    def collate(self, examples: list[np.ndarray]) -> Stays:
        inputs_BTD, lengths_B = padded(examples, multiple_of=power_of_two(max(map(len, examples))))
        count = len(examples)
        return Stays(inputs_BTD, np.zeros(count, np.float32), lengths_B, np.zeros(count, np.int32))

    def predict(self, model: Model, batch: Stays) -> jax.Array:
        return jax.nn.sigmoid(model.classify(batch.inputs_BTD, batch.lengths_B)[:, 0])

    def render(self, predicted: np.ndarray, example: np.ndarray) -> dict[str, Any]:
        """The risk of death, that of all training stays, and the last values that are farthest from the mean."""
        x_TF, m_TF, _ = np.split(example, 3, axis=-1)
        measured_F = m_TF.any(axis=0)
        far = sorted(np.flatnonzero(measured_F & (np.abs(x_TF[-1]) >= UNUSUAL)), key=lambda f: -abs(x_TF[-1, f]))
        values = self.codec.values(x_TF[-1])
        return {
            "risk": float(predicted),
            "risk of all": self.codec.deaths,
            "measured": f"{measured_F.sum()} of {len(VARIABLES)}",
            "unusual": {VARIABLES[f]: float(f"{values[f]:.4g}") for f in far[:MOST_SHOWN]},
        }


def _nats(logits: jax.Array, died: jax.Array) -> jax.Array:
    return optax.sigmoid_binary_cross_entropy(logits, died.astype(logits.dtype))
