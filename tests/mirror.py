"""Tests that read real data, from a folder that mirrors their sources."""

import os

import pytest


def needs_mirror(files: str) -> pytest.MarkDecorator:
    """Skips a test where XLSTM_JAX_DATA_MIRROR is not set; `files` are folders that it must have."""
    return pytest.mark.skipif(
        "XLSTM_JAX_DATA_MIRROR" not in os.environ, reason=f"set XLSTM_JAX_DATA_MIRROR to a folder with {files}"
    )
