"""Copy memory: checks rows against the definition, step by step."""

import numpy as np
import pytest

from xlstm_jax.data.problems.copy_memory import CopyMemory
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.copy_memory import CopyTask


@pytest.mark.parametrize("lag", [1, 2, 50])
def test_the_answer_is_the_string(lag):
    batch = CopyMemory(lag + 20).rows(np.random.default_rng(0), 20)
    assert batch.lengths_B is None
    for tokens, targets, mask in zip(*(array.tolist() for array in batch[:3]), strict=True):
        string = tokens[:10]
        assert set(string) <= {1, 2, 3, 4, 5, 6, 7, 8}
        assert tokens == string + [0] * (lag - 1) + [9] + [0] * 10
        assert targets == [0] * (lag + 10) + string
        assert mask == [False] * (lag + 10) + [True] * 10


def test_symbols_are_even():
    tokens_BT = CopyMemory(30).rows(np.random.default_rng(1), 4000).inputs_BT
    found = np.bincount(tokens_BT[:, :10].ravel(), minlength=9)
    assert found[0] == 0 and np.all(np.abs(found[1:] - 5000) < 5 * np.sqrt(5000))


@pytest.mark.parametrize("name", ["sequence_length", "long_length"])
def test_no_lag(name):
    with pytest.raises(UsageError, match=rf"data\.{name} 20 is not allowed; must be at least 21") as caught:
        CopyTask(CopyTask.Config(**{name: 20}))
    assert "\n" not in str(caught.value)
