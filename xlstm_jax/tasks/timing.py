"""Tell at each spike how long ago the one before was."""

import dataclasses

from xlstm_jax.config import PositiveInt
from xlstm_jax.data.problems.timing import SpikeDelays
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.problem import ProblemConfig, ProblemTask


@dataclasses.dataclass(frozen=True)
class TimingConfig(ProblemConfig):
    interval: PositiveInt = 49  # F: minimum number of steps from spike to spike
    offsets: PositiveInt = 1  # each interval is longer by 0 to this many steps


@TASKS.register("timing")
class Timing(ProblemTask):
    """At each spike one of `offsets` + 1 classes: the steps since the last one beyond `interval`.

    The paper has the offset as a real number with squared error, right within 0.49, and one stream without end; here it
    is a class, and a stream has `sequence_length` steps, in the split "long" `long_length`.
    """

    Config = TimingConfig
    unit = "nats per spike"

    @property
    def outputs(self) -> int:
        """A: the classes; the tokens read, 0 and 1, are among them."""
        return self.choices

    @property
    def choices(self) -> int:
        return self.config.offsets + 1

    def problem(self, split: str, length: int) -> SpikeDelays:
        least = self.config.interval + self.config.offsets + 1
        if length < least:
            why = f"must be at least {least} (data.interval + data.offsets + 1), so that each row has a spike"
            raise self.refused(split, length, why)
        return SpikeDelays(self.config.interval, self.config.offsets, length)
