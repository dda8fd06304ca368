"""Faster compilation for the tests of this folder."""

import pytest

from xlstm_jax.ops.recurrence import scan


@pytest.fixture(autouse=True)
def rolled(monkeypatch):
    """One copy of a step in the compiled loop: less to compile. `tests/ops` runs it unrolled."""
    monkeypatch.setattr(scan, "UNROLL", 1)
