"""FLOP of a training step, counted from the trace, so independent of the compiler.

Counts the matrix products and convolutions of the model and its head at 2 FLOP per multiply-add, once for the forward
and twice for the backward pass (the two gradients of each product). Masked attention scores count in full, as they are
computed. Not counted: elementwise work (gates, norms, softmax, and states updated or scanned without a product), the
embedding lookup, the optimizer, and recomputation by rematerialisation. It is the model's cost, not the program's.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.extend.core import ClosedJaxpr, Jaxpr, JaxprEqn

BACKWARD = 2  # products in the backward pass per product in the forward pass
# Peak TFLOP/s of dense products in (bfloat16, float32) by words of the device's name, from NVIDIA's data sheets (H100,
# H200: 2024; A100: 2021; L4, L40S, A10: 2023; V100: 2018; T4: 2019) and architecture papers (Ada 2022, GA102 2020).
# float32 means tf32 on tensor cores that support it, which XLA uses at its default precision.
PEAKS = {
    "H200": (989.4, 494.7),
    "H100 PCIe": (756.5, 378.0),
    "H100 NVL": (835.5, 417.5),
    "H100": (989.4, 494.7),
    "A100": (312.0, 156.0),
    "A10": (125.0, 62.5),
    "L40S": (362.0, 183.0),
    "L4": (121.0, 60.0),
    "RTX 4090": (165.2, 82.6),
    "RTX 3090": (71.0, 35.6),
    "V100 SXM2": (None, 15.7),
    "T4": (None, 8.1),
}


class Uncountable(Exception):
    """Raised if the number of products is not visible in the trace; the message says where."""


class StepCost(NamedTuple):
    """FLOP per training step, and the peak FLOP/s of all its devices together; None if unknown."""

    flops: float | None
    peak: float | None

    def metrics(self, steps_per_second: float) -> dict[str, float]:
        """`train/model_flops_per_second` and `train/utilisation`, its fraction of the peak; only what is known."""
        if self.flops is None:
            return {}
        rate = self.flops * steps_per_second
        metrics = {"train/model_flops_per_second": rate}
        return metrics if self.peak is None else {**metrics, "train/utilisation": rate / self.peak}

    def __str__(self) -> str:
        if self.flops is None:
            return "FLOP per step unknown"
        return f"{self.flops:.3g} FLOP per step" + ("" if self.peak is None else f", peak {self.peak:.3g} FLOP/s")


def step_cost(parts: Any, params: Any) -> StepCost:
    """The cost of a step of `train.build.Parts` with such parameters."""
    params = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape, a.dtype), params)  # drops the sharding

    def loss(params, batch):
        return parts.task.forward(parts.model(params), batch, None, None).loss.total

    try:
        flops = float((1 + BACKWARD) * count(loss, params, parts.example))
    except Uncountable:
        flops = None
    devices = parts.placement.replicated.device_set
    sections = parts.sections
    each = sections.train.peak_flops or known_peak(next(iter(devices)).device_kind, sections.model.dtype)
    return StepCost(flops, each and len(devices) * each)


def known_peak(device_kind: str, dtype: str) -> float | None:
    """Peak FLOP/s by the device's name, such as "NVIDIA A100-SXM4-80GB"; None if unknown."""
    words = device_kind.replace("-", " ").split()
    for name, peaks in PEAKS.items():
        if set(name.split()) <= set(words):
            peak = dict(zip(("bfloat16", "float32"), peaks, strict=True)).get(dtype)
            return peak and 1e12 * peak
    return None


def count(function: Callable, *args: Any) -> int:
    """Counts the FLOP of the products in one call by tracing, without computing anything.

    Loops count once per iteration, and conditionals as their most expensive branch. A choice by platform counts as its
    branch for all platforms, so the count is the same everywhere.

    Raises:
        Uncountable: products in a loop with an unknown number of iterations, or in a kernel.
    """
    return _jaxpr(jax.make_jaxpr(function)(*args).jaxpr)


def _jaxpr(jaxpr: Jaxpr) -> int:
    return sum(_equation(eqn) for eqn in jaxpr.eqns)


def _equation(eqn: JaxprEqn) -> int:
    name, params = eqn.primitive.name, eqn.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        return 2 * eqn.outvars[0].aval.size * math.prod(eqn.invars[0].aval.shape[axis] for axis in contracted)
    if name == "conv_general_dilated":
        kernel = eqn.invars[1].aval
        return 2 * eqn.outvars[0].aval.size * (kernel.size // kernel.shape[params["dimension_numbers"].rhs_spec[0]])
    if name in ("pallas_call", "kernel_elsewhere"):
        raise Uncountable("a trace does not show the products of a kernel")
    if name == "cond":
        platforms = params.get("branches_platforms")
        if platforms and None in platforms:
            return _jaxpr(params["branches"][platforms.index(None)].jaxpr)
        return max(_jaxpr(branch.jaxpr) for branch in params["branches"])
    inside = sum(map(_jaxpr, _inner(params)))
    if name == "while" and inside:
        raise Uncountable("products in a loop whose number of iterations depends on the data")
    if name == "shard_map":  # traced for one device
        return inside * math.prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"])
    return inside * params["length"] if name == "scan" else inside


def _inner(params: dict[str, Any]) -> Iterator[Jaxpr]:
    for value in jax.tree.leaves(params, is_leaf=lambda node: isinstance(node, (ClosedJaxpr, Jaxpr))):
        if isinstance(value, ClosedJaxpr):
            yield value.jaxpr
        elif isinstance(value, Jaxpr):
            yield value
