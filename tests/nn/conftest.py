"""Faster compilation for the tests in this folder."""

import pytest


@pytest.fixture(autouse=True)
def every_test(rolled):
    """Keeps loops rolled; `tests/ops` covers unrolled ones."""
