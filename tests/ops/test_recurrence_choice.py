"""Which implementation of a recurrence runs, by name and by default, and errors."""

import functools

import jax
import numpy as np
import pytest

from xlstm_jax.cells import CELLS
from xlstm_jax.errors import UsageError
from xlstm_jax.ops.recurrence import IMPLEMENTATIONS, NewtonOptions, Noise, newton_recurrence, recurrence
from xlstm_jax.testing.examples import examples

T = 11
EXAMPLES = {example.name: example for example in examples()}


def lowered(name: str, implementation: str | None, platform: str = "cpu", **options) -> str:
    """The program, with its scopes, of a recurrence in float32."""
    example = EXAMPLES[name]
    arguments = example.params(np.float32), example.inputs(T, np.float32)
    run = functools.partial(recurrence, example.cell, implementation=implementation, **options)
    return jax.jit(run).trace(*arguments).lower(lowering_platforms=(platform,)).as_text(debug_info=True)


@pytest.mark.parametrize("implementation, name", [("scan", "gru"), ("chunked", "gru"), ("associative", "mingru")])
def test_a_named_implementation_runs(implementation, name, monkeypatch):
    """Only its scope appears in the program, the function in the table is called, and only a scan has a loop."""
    text = lowered(name, implementation)
    assert [other for other in IMPLEMENTATIONS if f"recurrence_{other}" in text] == [implementation]
    assert ("stablehlo.while" in text) == (implementation != "associative")
    for other in IMPLEMENTATIONS:
        monkeypatch.setitem(IMPLEMENTATIONS, other, functools.partial(called, other))
    with pytest.raises(Called, match=f"^{implementation}\\b"):
        lowered(name, implementation)


class Called(Exception):
    """Which implementation was called."""


def called(name, *args, **kwargs):
    raise Called(name)


def test_newton_runs_under_its_name():
    text = lowered("gru", "newton")
    assert [other for other in IMPLEMENTATIONS if f"recurrence_{other}" in text] == ["newton"]


def test_none_chooses_by_cell():
    """The chunked scan if the cell supports it, else the plain one; zoneout needs the plain one."""
    key = jax.random.key(0)
    assert "recurrence_chunked" in lowered("gru", None)
    assert "recurrence_chunked" in lowered("gru", None, noise=Noise("recurrent", 0.5), key=key)
    assert "recurrence_scan" in lowered("gru", None, noise=Noise("zoneout", 0.5), key=key)
    assert "recurrence_scan" in lowered("mlstm", None)


@pytest.mark.parametrize("name", ["mingru", "minlstm"])
def test_none_chooses_by_platform(name):
    """A cell linear in its carry is scanned only on CPU."""
    assert "stablehlo.while" in lowered(name, None)
    for platform in ("cuda", "tpu"):
        assert "stablehlo.while" not in lowered(name, None, platform)


REFUSED = [
    ("gru", {"implementation": "parallel"}, "'scan', 'chunked', 'associative', 'newton', 'cudnn'"),
    ("mlstm", {"implementation": "chunked"}, "MLSTM; use 'scan'"),
    ("mingru", {"implementation": "chunked"}, "MinGRU; use 'scan'"),
    ("gru", {"implementation": "associative"}, r"minlstm, mingru, rglru\), got GRU"),
    ("gru", {"implementation": "chunked", "noise": Noise("zoneout", 0.5)}, "no zoneout; use 'scan'"),
    ("mingru", {"implementation": "associative", "remat_every": 2}, "'associative' takes neither"),
    ("gru", {"implementation": "newton", "noise": Noise("recurrent", 0.5)}, "'newton' takes neither"),
    ("lstm", {"implementation": "cudnn", "remat_every": 2}, "'cudnn' takes neither"),
    ("gru", {"remat_every": 0}, "remat_every 0 .* at least 1"),
    ("slstm", {"implementation": "newton"}, "plain scale, which SLSTM does not have"),
    ("gru", {"implementation": "cudnn"}, "covers the cell 'lstm', got GRU"),
    ("slstm", {"noise": Noise("zoneout", 0.5)}, "'zoneout' .* SLSTM"),
    ("mingru", {"noise": Noise("variational", 0.5)}, "'variational' .* which MinGRU lacks"),
    ("mlstm", {"noise": Noise("recurrent", 0.5)}, "'recurrent' .* which MLSTM lacks"),
    ("lstm", {"noise": Noise("zonout", 0.5)}, "'zonout' .*'variational', 'recurrent', 'zoneout'"),
    ("lstm", {"noise": Noise("recurrent", 1.0)}, r"dropout rate 1\.0 is not allowed; must be at least 0 and under 1"),
    ("lstm", {"noise": Noise("zoneout", -0.1)}, r"dropout rate -0\.1 is not allowed; must be at least 0 and under 1"),
]


@pytest.mark.parametrize("name, options, message", REFUSED)
def test_a_named_one_never_falls_back(name, options, message):
    """Options that an implementation does not support raise, with and without a key for the noise."""
    for key in (None, jax.random.key(0)):
        with pytest.raises(UsageError, match=message):
            lowered(name, **{"implementation": None, "key": key, **options})


def test_usage_errors_of_the_arguments():
    tree = next(CELLS.get(name) for name in CELLS.names() if CELLS.get(name).kind == "tree")
    example = EXAMPLES["gru"]
    params, x = example.params(np.float32), example.inputs(T, np.float32)
    with pytest.raises(UsageError, match=r"kind 'tree'.*'sequence'"):
        recurrence(tree, params, x)
    with pytest.raises(UsageError, match="'full', 'diagonal'"):
        newton_recurrence(example.cell, params, x, options=NewtonOptions(jacobian="block"))
