"""Meshes of the eight host devices, and the collectives of a compiled program."""

import re

import jax
from jax.sharding import AxisType

from tests.gpu.compiled import COLLECTIVES


def mesh(**sizes: int) -> jax.sharding.Mesh:
    """A mesh of the first devices with axes of these sizes, all automatic."""
    count = 1
    for size in sizes.values():
        count *= size
    axis_types = (AxisType.Auto,) * len(sizes)
    return jax.make_mesh(tuple(sizes.values()), tuple(sizes), axis_types=axis_types, devices=jax.devices()[:count])


def collectives(compiled) -> list[tuple[str, str]]:
    """(kind, types of the arrays) of each collective, sorted."""
    found = re.findall(rf"= (.+?) {COLLECTIVES.removeprefix(chr(92) + 'b')}", compiled.as_text())
    return sorted((kind, re.sub(r"\{[^}]*\}", "", types)) for types, kind in found)
