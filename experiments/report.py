"""Report a sweep: python -m experiments.report --workdir=/tmp/families

Writes table.md, runs.csv and figure.png into the workdir (or `--out`) from what its runs recorded: means over seeds
with their spread; runs that failed or are not done yet are listed as such. Where runs were measured, measured.csv has
what was found; where they end in a sample, samples.md has one of each point.
"""

from absl import flags

from experiments.programs import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the sweep")
_OUT = flags.DEFINE_string("out", None, "folder for the report; the workdir where not given")


def main() -> None:
    from experiments.sweeping.report import report

    report(_WORKDIR.value, _OUT.value or _WORKDIR.value)


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir"])
    cli.run(main)
