"""What counts of a device, as its maker publishes it."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Card:
    """One device.

    Args:
        title: for people.
        units: streaming multiprocessors.
        flops: dense matrix products per second, by dtype.
        bandwidth: of the device's memory, bytes per second.
        cache: bytes of the L2 cache, which all units share.
        registers: of 32 bits, of a unit.
    """

    title: str
    units: int
    flops: dict[str, float]
    bandwidth: float
    cache: float
    registers: int = 65536


def _gpu(title: str, units: int, bfloat16: float, tf32: float, float32: float, bandwidth: float, cache: float) -> Card:
    """TFLOP/s, GB/s and MB to a card; exact float32 runs outside the tensor cores."""
    flops = {"bfloat16": bfloat16 * 1e12, "tf32": tf32 * 1e12, "float32": float32 * 1e12}
    return Card(title, units, flops, bandwidth * 1e9, cache * 1e6)


# From NVIDIA's data sheets: dense, without sparsity.
CARDS = {
    "a100": _gpu("A100 SXM 80 GB", 108, 312, 156, 19.5, 2039, 40),
    "h100": _gpu("H100 SXM", 132, 989, 495, 67, 3350, 50),
    "h200": _gpu("H200", 132, 989, 495, 67, 4800, 50),
}
