"""Faster compilation for the tests of this folder."""

import pytest


@pytest.fixture(autouse=True)
def every_test(rolled):
    """`tests/ops` runs the loop unrolled."""
