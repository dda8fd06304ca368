"""Freed memory that is kept: what a step frees the next one gets back, with no new pages from the system."""

import subprocess
import sys

import pytest

PROGRAM = """
import resource
import numpy as np
from experiments import cli

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(64 << 20, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

plain = [faults() for _ in range(3)][-1]
cli.keep_freed_memory()
print(plain, [faults() for _ in range(3)][-1])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="sets an option of the GNU C library")
def test_no_page_is_asked_for_again():
    """64 MiB written, freed and written again: page faults by the hundred before, next to none after."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    plain, kept = map(int, done.stdout.split())
    if plain < 20:
        pytest.skip("the C library here keeps freed memory by itself")
    assert kept < plain / 10
