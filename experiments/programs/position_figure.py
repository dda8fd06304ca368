"""Table, JSON file and figure of the loss by position, for `experiments.evaluate --positions`."""

from pathlib import Path
from typing import Any


def report(parts: Any, params: Any, about: dict[str, Any], which: str, folder: Path) -> None:
    """Prints the table and writes evaluation-SPLIT-positions.json and .png to `folder`.

    `about` has the split and further entries for the file; `which` describes the weights in the output.
    """
    from rich.table import Table

    from experiments.programs.figures import draw_positions
    from experiments.programs.loss_by_position import loss_by_position
    from xlstm_jax.console import plain_console
    from xlstm_jax.errors import UsageError
    from xlstm_jax.files import write_json
    from xlstm_jax.models import LanguageModel
    from xlstm_jax.tasks.language_model import perplexity

    if not isinstance(parts.model(params), LanguageModel):
        raise UsageError(f"--positions is for language models, and {which} is not one; leave it out")
    split = about["split"]
    windows, bins = loss_by_position(parts, params, split)
    trained, unit = parts.task.config.sequence_length, parts.task.codec.kind
    table = Table("position", f"nats per {unit}", "standard error", "perplexity", "x training length")
    for one in bins:
        error = "-" if one.standard_error is None else f"{one.standard_error:.4f}"
        where = f"{one.first}" if one.first == one.last else f"{one.first} to {one.last}"
        ratio = f"{one.last / trained:.3g}"
        table.add_row(where, f"{one.nats:.4f}", error, f"{perplexity(one.nats):.3f}", ratio)
    console = plain_console()
    how = (
        f"{windows.count} consecutive windows of {windows.length} tokens ({windows.multiple} x the training length "
        f"{trained}) that do not overlap, each from an empty state that is carried to its end"
    )
    console.print(table, soft_wrap=False)
    console.print(f"{which}  {split}: {how}")
    path = folder / f"evaluation-{split}-positions.json"
    figure = path.with_suffix(".png")
    draw_positions(bins, trained, unit, f"{split}, {which}: {windows.count} windows of {windows.length}", figure)
    write_json(
        path,
        {
            **about,
            "windows": windows._asdict(),
            "training_length": trained,
            "unit": unit,
            "bins": [one._asdict() | {"perplexity": perplexity(one.nats)} for one in bins],
        },
    )
    console.print(f"written to {path} and {figure.name}")
