"""The mLSTM's chunkwise form with chunks of several lengths; sizes, dtype and gates are those of the suite `mlstm`."""

from experiments.benching.base import PASSES, SUITES, jax_case
from experiments.benching.timing import Case
from experiments.suites import mlstm

TIMES = (1024, 4096)
CHUNKS = (64, 16, 32, 128, 256)


@SUITES.register("chunk_size")
def chunk_size(tiny: bool) -> list[Case]:
    """Groups by pass and number of steps; the default length first."""
    times, chunks = ((32,), (8, 16)) if tiny else (TIMES, CHUNKS)
    return [_case(which, time, chunk) for which in PASSES for time in times for chunk in chunks]


def _case(which: str, time: int, chunk: int) -> Case:
    from xlstm_jax.ops.mlstm import mlstm as op

    def run(*args):
        return op(*args, implementation="chunkwise", chunk_size=chunk)[0]

    options = {"which": which, "tokens": mlstm.BATCH * time, "size": time}
    # Without a size, the figure has one bar for each chunk length; T is in the group.
    return jax_case(f"{which}, T {time:,}", f"chunk {chunk}", run, mlstm.inputs, **options)._replace(size=0)
