"""Count what kernels need on a card: python -m experiments.roofline --op=mlstm --sizes=8,8192,8,256,512 --card=h100

Prints a row for each kernel: programs, waves of them, matrix products, bytes of memory, and the least times of both. No
GPU is needed, and none is used: these are counts, not measurements. What runs outside kernels is not counted.
"""

from absl import flags

from experiments.counting.cards import CARDS
from experiments.programs import cli

OPS = ("mlstm", "slstm")

_OP = flags.DEFINE_enum("op", "mlstm", OPS, "whose kernels")
_SIZES = flags.DEFINE_list(
    "sizes", None, "batch,time,heads,keys,values of the mLSTM, or batch,time,heads,features of the sLSTM"
)
_DTYPE = flags.DEFINE_enum("dtype", "bfloat16", ("bfloat16", "float32"), "of the arrays")
_CARD = flags.DEFINE_enum("card", "h100", tuple(CARDS), "the device")


def main() -> None:
    cli.start_jax()
    from rich import box
    from rich.table import Table

    from experiments.counting.kernels import cost
    from experiments.counting.programs import kernels
    from xlstm_jax.console import plain_console
    from xlstm_jax.errors import UsageError

    try:
        sizes = [int(size) for size in _SIZES.value or ()]
    except ValueError:
        raise UsageError(f"--sizes={','.join(_SIZES.value)} must be whole numbers with commas between them") from None
    card = CARDS[_CARD.value]
    title = f"{_OP.value} {', '.join(map(str, sizes))}, {_DTYPE.value}, on {card.title}: counted, not run"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("kernel", no_wrap=True)
    for column in ("programs", "waves", "GFLOP", "GB", "product ms", "memory ms", "bound ms"):
        table.add_column(column, justify="right")
    for name, found in kernels(_OP.value, sizes, _DTYPE.value).items():
        costs = [cost(kernel, card) for kernel in found]
        for one in costs:
            numbers = one.products_ms, one.memory_ms, one.bound_ms
            counts = f"{one.programs:,}", f"{one.waves:.2f}", f"{one.flops / 1e9:,.1f}", f"{one.bytes / 1e9:.3f}"
            table.add_row(one.name, *counts, *(f"{ms:.3f}" for ms in numbers))
        total = sum(one.bound_ms for one in costs)
        table.add_row(f"{name}, all", *[""] * 6, f"{total:.3f}", end_section=True)
    plain_console().print(table)


if __name__ == "__main__":
    flags.mark_flags_as_required(["sizes"])
    cli.run(main)
