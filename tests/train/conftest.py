"""Saved checkpoints to read and to hurt."""

import gc
import shutil

import pytest

from tests.train.saving import save
from xlstm_jax.train.workdir.checkpoint import Checkpoints


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A workdir with the checkpoints of steps 3 and 4."""
    workdir = tmp_path_factory.mktemp("saved")
    with Checkpoints(workdir, keep=2) as checkpoints:
        save(checkpoints, 3, 1.0)
        save(checkpoints, 4, 2.0)
    return workdir


@pytest.fixture
def copy(saved, tmp_path):
    return shutil.copytree(saved, tmp_path / "copy")


@pytest.fixture
def collected():
    """Collect garbage within this test, under its own filters, and not in whichever test comes later.

    Only this test's: in what was there before, gigabytes of compiled programs, a search takes seconds.
    """
    gc.freeze()
    yield
    gc.collect()
