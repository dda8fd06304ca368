"""Copy ten symbols after a long wait."""

from xlstm_jax.data.problems.copy_memory import COPIED, SYMBOLS, VOCAB_SIZE, CopyMemory
from xlstm_jax.tasks.base import TASKS
from xlstm_jax.tasks.problem import ProblemTask


@TASKS.register("copy_memory")
class CopyTask(ProblemTask):
    """Predict the symbols alone; the lag is `sequence_length` - 20, in split "long" `long_length` - 20."""

    outputs = VOCAB_SIZE
    choices = SYMBOLS

    def answers(self, length: int) -> int:
        del length
        return COPIED

    def problem(self, split: str, length: int) -> CopyMemory:
        if length < 2 * COPIED + 1:
            raise self.refused(split, length, "must be at least 21: 20 steps and a lag of 1")
        return CopyMemory(length)
