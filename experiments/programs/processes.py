"""Several processes as one run: flags, and the start of jax's own coordination."""

from absl import flags

from experiments.programs import cli
from xlstm_jax.errors import UsageError, one_line

_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, of a run of several processes")
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "how many processes the run has", lower_bound=1, upper_bound=cli.MOST
)
_PROCESS_ID = flags.DEFINE_integer("process_id", None, "this one's number, from 0", lower_bound=0, upper_bound=cli.MOST)
_DISTRIBUTED = flags.DEFINE_boolean(
    "distributed", False, "several processes, all of it as the scheduler says (Slurm, Open MPI, Kubernetes)"
)
_PEER_TIMEOUT = flags.DEFINE_integer(
    "peer_timeout",
    20,
    "seconds without a sign of life after which a process counts as lost",
    lower_bound=5,
    upper_bound=cli.MOST,
)

INITIALIZATION_SECONDS = 120  # until all processes must be there


def start() -> None:
    """Join the other processes where the flags say that there are any; before jax is used otherwise.

    Raises:
        UsageError: flags that do not go together, or the others are not found.
    """
    given = (_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    if not _DISTRIBUTED.value and given == (None, None, None):
        return
    if not _DISTRIBUTED.value and None in given:
        raise UsageError("--coordinator, --num_processes and --process_id go together; --distributed finds all of them")
    if None not in given and _PROCESS_ID.value >= _NUM_PROCESSES.value:
        raise UsageError(f"--process_id={_PROCESS_ID.value} is not under --num_processes={_NUM_PROCESSES.value}")
    import jax

    try:
        jax.distributed.initialize(
            *given, heartbeat_timeout_seconds=_PEER_TIMEOUT.value, initialization_timeout=INITIALIZATION_SECONDS
        )
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"the {_NUM_PROCESSES.value or ''} processes of this run did not come together ({one_line(error)}); "
            "check --coordinator, or the scheduler's environment"
        ) from error
