"""Train a model: python -m experiments.train --config=configs/quickstart.py --workdir=/tmp/quickstart"""

from absl import flags
from ml_collections import config_flags

from experiments.programs import cli, processes

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "config file, with an optional variant: configs/char_lm.py:lstm", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "folder for checkpoints and metrics; a run found there is resumed")
_PROFILE_STEPS = flags.DEFINE_string(
    "profile_steps", "", "10:15 writes a profiler trace of steps 10 to 15 to WORKDIR/profile"
)


def main() -> int:
    cli.start_jax()
    processes.start()
    from xlstm_jax.train.loop import train
    from xlstm_jax.train.profiling import parse_steps

    return train(_CONFIG.value, _WORKDIR.value, profile_steps=parse_steps(_PROFILE_STEPS.value))


if __name__ == "__main__":
    flags.mark_flags_as_required(["config", "workdir"])
    cli.run(
        main,
        smaller="raise train.accumulate or set model.remat=full, or lower data.batch_size, data.sequence_length or "
        "model.features in another workdir",
    )
