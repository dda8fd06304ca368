"""Faster compilation for the tests in this folder."""

import pytest


@pytest.fixture(autouse=True)
def every_test(rolled):
    """`tests/ops` runs the unrolled loop."""
