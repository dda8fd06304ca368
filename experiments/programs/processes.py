"""Runs with several processes: the flags, and initialisation of `jax.distributed`."""

from absl import flags

from experiments.programs import cli
from xlstm_jax.errors import UsageError, one_line

_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, for a run with several processes")
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes", None, "number of processes of the run", lower_bound=1, upper_bound=cli.MOST
)
_PROCESS_ID = flags.DEFINE_integer(
    "process_id", None, "index of this process, from 0", lower_bound=0, upper_bound=cli.MOST
)
_DISTRIBUTED = flags.DEFINE_boolean(
    "distributed", False, "several processes, as configured by the scheduler (Slurm, Open MPI, Kubernetes)"
)
_PEER_TIMEOUT = flags.DEFINE_integer(
    "peer_timeout",
    20,
    "seconds without a heartbeat after which a process counts as lost",
    lower_bound=5,
    upper_bound=cli.MOST,
)

INITIALIZATION_SECONDS = 120  # for all processes to connect


def start() -> None:
    """Connects to the other processes if the flags say so. Call it before any other use of jax.

    Raises:
        UsageError: the flags are inconsistent, or the processes could not connect.
    """
    given = (_COORDINATOR.value, _NUM_PROCESSES.value, _PROCESS_ID.value)
    if not _DISTRIBUTED.value and given == (None, None, None):
        return
    if not _DISTRIBUTED.value and None in given:
        raise UsageError(
            "--coordinator, --num_processes and --process_id must be given together; --distributed sets all of them"
        )
    if None not in given and _PROCESS_ID.value >= _NUM_PROCESSES.value:
        raise UsageError(f"--process_id={_PROCESS_ID.value} must be less than --num_processes={_NUM_PROCESSES.value}")
    import jax

    try:
        jax.distributed.initialize(
            *given, heartbeat_timeout_seconds=_PEER_TIMEOUT.value, initialization_timeout=INITIALIZATION_SECONDS
        )
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"the processes of this run could not connect ({one_line(error)}); "
            "check --coordinator, or the scheduler's environment"
        ) from error
