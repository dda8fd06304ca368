"""Find anomalies in series as they come in: the benchmarks NAB and SKAB, or CSV files of the user's own."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import grain
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import Bounds, NonNegativeInt, PositiveFloat, PositiveInt, Section
from xlstm_jax.data.batches import ALL_ROWS, checked_seed, dataset
from xlstm_jax.data.codecs import padded, power_of_two
from xlstm_jax.data.series.anomalies import nab, skab
from xlstm_jax.data.series.anomalies.alarms import stretches
from xlstm_jax.data.series.anomalies.findings import Findings, draw, findings
from xlstm_jax.data.series.anomalies.monitored import FEWEST, Channels, Monitored, read_file, read_own
from xlstm_jax.data.series.anomalies.rules import Rule, row_scores
from xlstm_jax.data.series.anomalies.stream_windows import Corpus, EvaluationStreams, TrainStreams, Windows
from xlstm_jax.data.series.anomalies.streams import Scaling, Seasons, View, prepared, width
from xlstm_jax.errors import UsageError
from xlstm_jax.models.detector import Autoencoder, Constant, Detector, DetectorConfig, Forecaster, expected_of_series
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio, Task, unknown_split

BENCHMARKS = {"nab": nab.read, "skab": skab.read}


@dataclasses.dataclass(frozen=True)
class AnomalyConfig(Section, name="data"):
    name: Literal["nab", "skab"] = "nab"  # a benchmark: NAB (58 series) or SKAB (34 experiments, 8 sensors)
    path: str = ""  # a CSV file with a header instead, or a folder of them, a series each
    only: str = ""  # of a benchmark: the series whose names contain this
    time: str = "timestamp"  # the column of dates in a file; "": none
    label: str = ""  # a column with 1 in anomalous rows and 0 elsewhere, for metrics; "": none
    calibration: NonNegativeInt = 0  # first rows of a file that are taken as normal; 0: 15%, 750 at most
    # Share of those rows, the last ones, that validate instead of training.
    held_out: Annotated[float, Bounds(over=0, under=1)] = 0.2
    reads: Literal["past", "present"] = "past"  # past: for a forecaster; present: for an autoencoder
    scaling: Scaling = "running"  # by mean and deviation of the rows before (running) or of the training rows
    memory: PositiveInt = 1000  # rows that running means go back
    seasons: Seasons = "week"  # lags that a forecaster reads as well: none, day, or week (a day and a week)
    window: PositiveInt = 128  # rows that a model reads at once
    stride: PositiveInt = 64  # rows at the end of a window that are judged by it; 1 for an autoencoder
    # How rows are scored: onsets (when something begins) or states (that last) from a model's errors; windowed_gaussian
    # or t2_q from the values alone, as references.
    rule: Rule = "onsets"
    threshold: PositiveFloat = 11.0  # an alarm is a score of at least this
    batch_size: PositiveInt = 32  # windows in a batch

    def __post_init__(self):
        super().__post_init__()
        if self.stride > self.window:
            raise UsageError(
                f"data.stride {self.stride} is not allowed with data.window {self.window}; it must be at most as long"
            )
        if 0 < self.calibration < FEWEST:
            raise UsageError(f"data.calibration {self.calibration} is not allowed; must be 0, or at least {FEWEST}")

    @property
    def view(self) -> View:
        return View(self.reads == "past", self.scaling, self.memory, self.seasons, self.held_out)


class Whole(NamedTuple):
    """A batch of whole series, to predict."""

    inputs_BTF: np.ndarray
    lengths_B: np.ndarray


@TASKS.register("anomaly")
class Anomaly(Task):
    """Learn what is normal from the first rows of each series; score the others as they come in.

    The loss is the mean absolute error, in units of the scale of each row. Metrics of the split "test": of NAB the
    benchmark's score in three profiles, `nab`, `nab_low_fp` and `nab_low_fn`, each at its best threshold, and
    `nab_fixed` at `data.threshold`; of series with labelled rows `f1`, `false_alarms` and `missed_alarms` (rates in
    percent); and `alarms`, the runs of alarms in 1,000 rows.
    """

    Config, Model = AnomalyConfig, DetectorConfig
    unit = "deviations"
    held_out = ("test",)
    splits = {"validation": "held out rows of the calibration parts", "test": "all rows"}  # noqa: RUF012

    def __init__(self, config: AnomalyConfig, codec: Channels | None = None):
        self.config = config
        self.codec = codec
        if codec is None:
            self.codec = self._read[0]
            self.train_batches(seed=0)  # what does not fit shows before anything is built

    @functools.cached_property
    def _read(self) -> tuple[Channels, list[Monitored]]:
        config = self.config
        if config.path:
            return read_own(config.path, time=config.time, label=config.label, calibration=config.calibration)
        return BENCHMARKS[config.name](config.only)

    @property
    def series(self) -> list[Monitored]:
        return self._read[1]

    @functools.cached_property
    def _corpus(self) -> Corpus:
        streams = [prepared(one, self.config.view) for one in self.series]
        return Corpus(streams, self.config.window, self.config.stride)

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> Channels:
        return Channels.from_json(data)

    @functools.cached_property
    def loss_at_chance(self) -> float:
        """On the rows held out."""
        rows = [one.targets_NC[one.train : one.calibration] for one in self._corpus.streams]
        return float(np.mean(np.abs(np.concatenate(rows)), dtype=np.float64))

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for one, stream in zip(self.series, self._corpus.streams, strict=True):
            digest.update(one.name.encode() + one.values_NC.tobytes() + repr(stream[-2:]).encode())
        return digest.hexdigest()

    def summary(self) -> str:
        rows = sum(len(one.values_NC) for one in self.series)
        normal = sum(one.calibration for one in self.series)
        return f"series: {len(self.series)}, channels: {len(self.codec)}; {rows:,} rows, {normal:,} taken as normal"

    def build(self, config: DetectorConfig, *, rngs: nnx.Rngs) -> Detector:
        wanted = {"forecaster": "past", "autoencoder": "present"}.get(config.kind, self.config.reads)
        if self.config.reads != wanted:
            raise UsageError(f"model.kind {config.kind!r} needs data.reads={wanted}; set one of them")
        if config.kind == "none":
            return Constant(len(self.codec))
        sizes = width(len(self.codec), self.config.view), len(self.codec)
        if config.kind == "forecaster":
            return Forecaster(config, *sizes, rngs=rngs)
        return Autoencoder(config, *sizes, self.config.window, rngs=rngs)

    def train_batches(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        size = self.config.batch_size
        return dataset(TrainStreams(self._corpus, batch_size=size, seed=checked_seed(seed), part=rows))

    def batches(self, split: str, *, carry: bool = False, rows: slice = ALL_ROWS) -> grain.IterDataset:
        del carry
        if split not in self.splits:
            raise unknown_split(split, self.splits)
        return dataset(EvaluationStreams(self._corpus, split, batch_size=self.config.batch_size, part=rows))

    def forward(self, model: Detector, batch: Windows, carry: Any, key: jax.Array | None) -> Outcome:
        outputs_BTC = model.expected(batch.inputs_BTF, key)
        error_BT = jnp.mean(jnp.abs(batch.targets_BTC - outputs_BTC), axis=-1)
        total = jnp.sum(jnp.where(batch.scored_BT, error_BT, 0), dtype=jnp.float32)
        return Outcome(Ratio(total, jnp.sum(batch.scored_BT, dtype=jnp.float32)), {}, carry)

    def predict(self, model: Detector, batch: Windows | Whole) -> jax.Array:
        if isinstance(batch, Windows):
            return model.expected(batch.inputs_BTF)
        return expected_of_series(model, batch.inputs_BTF, self.config.window, self.config.stride)

    def judge(self, predicted: np.ndarray, batch: Windows) -> dict[str, Ratio]:
        """What the model expects, put in its place among all rows of all series: a sum, like any other metric."""
        total_RC = np.zeros((self._corpus.offset_S[-1], len(self.codec)))
        count_RC = np.zeros_like(total_RC)
        for outputs_TC, row, rows in zip(predicted, batch.row_B, batch.rows_B, strict=True):
            judged_TC = outputs_TC[len(outputs_TC) - self.config.stride :]
            total_RC[row : row + rows], count_RC[row : row + rows] = judged_TC[:rows], 1
        return {"expected_RC": Ratio(total_RC, count_RC)}

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        expected = ratios.get("expected_RC")
        if expected is None or not np.all(expected.count):  # another split than "test"
            return {}
        corpus, scores = self._corpus, []
        for number, (one, stream) in enumerate(zip(self.series, corpus.streams, strict=True)):
            here = slice(*corpus.offset_S[number : number + 2])
            score_N = row_scores(self.config.rule, one, stream, expected.total[here])
            scores.append(score_N[one.calibration :])
        alarms = [score_N >= self.config.threshold for score_N in scores]
        derived = {"alarms": 1000 * sum(len(stretches(alarm_N)) for alarm_N in alarms) / sum(map(len, alarms))}
        if any(one.windows for one in self.series):
            derived |= nab.result(np.concatenate(scores), nab.scored(self.series), self.config.threshold)
        if all(one.anomalous_N is not None for one in self.series):
            true = [one.anomalous_N[one.calibration :] for one in self.series]
            derived |= skab.result(sum(map(skab.counts, alarms, true)))
        return derived

    def read(self, text: str) -> Monitored:
        config, path = self.config, text.strip()
        if not path:
            raise UsageError("the input is empty; give the path of a CSV file")
        options = {"time": config.time, "calibration": config.calibration}
        return read_file(Path(path), label="", channels=self.codec.names, **options)

    def blank(self, length: int) -> Monitored:
        times_N = np.datetime64("2000-01-01", "s") + np.arange(length)
        return Monitored("", times_N, np.zeros((length, len(self.codec))), max(2, length // 4))

    def collate(self, examples: list[Monitored]) -> Whole:
        inputs = [prepared(one, self.config.view).inputs_NF for one in examples]
        return Whole(*padded(inputs, multiple_of=power_of_two(max(map(len, inputs)))))

    def render(self, predicted: np.ndarray, example: Monitored) -> Findings:
        outputs_NC = np.asarray(predicted, np.float64)[: len(example.values_NC)]
        scores_N = row_scores(self.config.rule, example, prepared(example, self.config.view), outputs_NC)
        return findings(example, scores_N, self.config.threshold)

    def draw(self, axes: Any, answer: Findings, example: Monitored) -> None:
        draw(axes, answer, example, self.codec.names)
