"""Report a sweep: python -m experiments.report --workdir=/tmp/families

Writes table.md, runs.csv and figure.png to the workdir (or `--out`) from the records of the runs: means over seeds and
their spread. Failed and unfinished runs are listed as such. If runs were measured, measured.csv has the values. If they
end with a sample, samples.md has one sample for each point.
"""

from absl import flags

from experiments.programs import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the sweep")
_OUT = flags.DEFINE_string("out", None, "folder for the report; default: the workdir")


def main() -> None:
    from experiments.sweeping.report import report

    report(_WORKDIR.value, _OUT.value or _WORKDIR.value)


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir"])
    cli.run(main)
