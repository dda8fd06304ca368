"""Tell a handwritten digit that is read pixel by pixel."""

import dataclasses
import functools
import hashlib
from typing import ClassVar

from xlstm_jax.config import PositiveInt, Section
from xlstm_jax.data.codecs import Numbers
from xlstm_jax.data.digits import CLASSES, PIXELS, read
from xlstm_jax.data.problems.base import FixedRows
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.problem import ProblemTask


@dataclasses.dataclass(frozen=True)
class DigitsConfig(Section, name="data"):
    permuted: bool = False  # pixels in one random order, the same for all images
    batch_size: PositiveInt = 64

    sequence_length: ClassVar[int] = PIXELS
    long_length: ClassVar[int] = 0


@TASKS.register("digits")
class Digits(ProblemTask):
    """Reads one pixel per step and predicts the class at the last step. 1,437 training images, 360 for validation."""

    Config = DigitsConfig
    unit = "nats per image"
    outputs = choices = CLASSES

    @functools.cached_property
    def _rows(self) -> dict[str, FixedRows]:
        return {name: FixedRows(batch) for name, batch in read(permuted=self.config.permuted).items()}

    def answers(self, length: int) -> int:
        del length
        return 1

    def problem(self, split: str, length: int) -> FixedRows:
        del length
        return self._rows[split]

    def fingerprint(self) -> str:
        digest = hashlib.sha256()
        for rows in self._rows.values():
            digest.update(rows.all.inputs_BT.tobytes() + rows.all.targets_BT.tobytes())
        return digest.hexdigest()

    def summary(self) -> str:
        return ", ".join(f"{name} {len(rows):,}" for name, rows in self._rows.items()) + f" images of {PIXELS} steps"

    def make_codec(self) -> Numbers:
        return Numbers(1)
