"""A pickle that leaves a trace when unpickled."""

import pathlib
import pickle

import numpy as np


class Trace:
    def __init__(self, path: pathlib.Path):
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def hostile_pickle(trace: pathlib.Path) -> bytes:
    return pickle.dumps(Trace(trace))


def hostile_array(trace: pathlib.Path) -> np.ndarray:
    """numpy writes it as a pickle, and reads it only with `allow_pickle=True`."""
    array = np.empty(1, object)
    array[0] = Trace(trace)
    return array
