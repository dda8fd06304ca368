"""Checkpoints: which are kept, what comes back, and what a damaged one says."""

import pathlib
import shutil

import jax
import jax.numpy as jnp
import pytest

from tests.train.saving import (
    CODEC,
    DATA,
    State,
    assert_same,
    cut,
    failed_reads,
    garbage,
    largest,
    pickled,
    save,
    state,
)
from xlstm_jax.cells.slstm import empty_state
from xlstm_jax.errors import UsageError
from xlstm_jax.train.workdir.checkpoint import Checkpoints


def test_restored_is_saved(saved):
    with Checkpoints(saved, read_only=True) as checkpoints:
        restored = checkpoints.restore(4, jax.eval_shape(lambda: state()))
        assert_same(restored.state, state(4))
        assert isinstance(restored.state, State) and isinstance(restored.state.carry[0], type(empty_state((1,))))
        assert (restored.data, restored.codec) == (DATA, CODEC)
        assert checkpoints.codec(3) == CODEC
        assert_same(checkpoints.restore_params(3, jax.eval_shape(lambda: state().params)), state(3).params)


def test_a_save_holds_the_values_of_its_moment(tmp_path):
    """The next step donates the state's buffers while the save is in flight."""
    change = jax.jit(lambda s: jax.tree.map(lambda leaf: leaf + jnp.ones_like(leaf), s), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        before = jax.tree.map(jnp.copy, state(1))  # a buffer a leaf, as donation wants it
        checkpoints.save(1, before, DATA, CODEC)
        change(before)
        checkpoints.wait()
        assert_same(checkpoints.restore(1, jax.eval_shape(lambda: state())).state, state(1))


def test_latest_and_best_are_kept_across_restarts(tmp_path):
    """The best one's loss is known again after each restart, and a save without a loss is never the best."""
    losses = {1: 3.0, 2: 1.0, 3: 2.0, 4: 2.5, 5: None, 6: 0.5, 7: 0.7, 8: 0.9}
    kept = {2: [1, 2], 3: [2, 3], 4: [2, 3, 4], 5: [2, 4, 5], 6: [5, 6], 7: [6, 7], 8: [6, 7, 8]}
    for step, loss in losses.items():
        with Checkpoints(tmp_path, keep=2) as checkpoints:
            save(checkpoints, step, loss)
            assert checkpoints.steps == kept.get(step, [1])
            assert checkpoints.latest_step() == step
            assert checkpoints.best_step() == (1 if step < 2 else 2 if step < 6 else 6)


def test_select(tmp_path):
    with Checkpoints(tmp_path, keep=3) as checkpoints:
        with pytest.raises(UsageError, match="has no checkpoint; train there first"):
            checkpoints.select("best")
        save(checkpoints, 1)
        assert checkpoints.select("best") == 1  # none was evaluated: the latest
        save(checkpoints, 2, 1.0)
        save(checkpoints, 3, 2.0)
        assert [checkpoints.select(which) for which in ("best", "latest", "1")] == [2, 3, 1]
        for which in ("9", "first", "-1", "", "²", "1²", "9" * 5000):
            with pytest.raises(UsageError, match=rf"checkpoint '{which}' does not exist; .* best, latest, or .* 1, 2"):
                checkpoints.select(which)


def test_reading_writes_nothing(saved, tmp_path):
    missing = tmp_path / "missing"
    with Checkpoints(missing, read_only=True) as checkpoints:
        assert checkpoints.steps == []
    assert not missing.exists()
    before = sorted(saved.rglob("*"))
    with Checkpoints(saved, read_only=True) as checkpoints:
        assert checkpoints.steps == [3, 4]
    assert sorted(saved.rglob("*")) == before


def attempt(workdir) -> str:
    """The one line that reading step 4 ends with."""
    with pytest.raises(UsageError) as caught, Checkpoints(workdir, read_only=True) as checkpoints:
        checkpoints.codec(4)
        checkpoints.restore(4, jax.eval_shape(lambda: state()))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@failed_reads
@pytest.mark.parametrize(
    "which", ["arrays", "state/_METADATA", "state/manifest.ocdbt", "data/metadata", "codec/metadata"]
)
def test_damaged_checkpoint_without_sums(saved, tmp_path, which):
    """One from before there were sums: says which folder to delete and what is then taken."""
    for harm in (cut, garbage, pickled, pathlib.Path.unlink):
        workdir = shutil.copytree(saved, tmp_path / harm.__name__)
        step = workdir / "checkpoints" / "4"
        (step / "SHA256SUMS").unlink()
        harm(largest(step) if which == "arrays" else step / which)
        message = attempt(workdir)
        if which == "state/manifest.ocdbt" and harm is pathlib.Path.unlink:  # nothing is lost: its parts have their own
            assert f"copy the files in {step}/state/ocdbt.process_0 to {step}/state, and run again" in message
            continue
        assert f"checkpoint {step} is damaged" in message
        assert "delete that folder; step 3 will be used" in message
        assert not list(workdir.rglob("trace"))  # a pickle was not run
    shutil.rmtree(step)
    with Checkpoints(workdir, read_only=True) as checkpoints:
        assert checkpoints.select("latest") == 3
        assert_same(checkpoints.restore(3, jax.eval_shape(lambda: state())).state, state(3))


@pytest.mark.parametrize("harm", [cut, garbage])
def test_damaged_metrics(copy, harm):
    """They are read when the folder is opened."""
    harm(copy / "checkpoints" / "4" / "metrics" / "metrics")
    assert f"{copy / 'checkpoints'} cannot be opened" in attempt(copy)


def test_the_only_checkpoint_damaged(copy):
    shutil.rmtree(copy / "checkpoints" / "3")
    cut(copy / "checkpoints" / "4" / "codec" / "metadata")
    assert "no other checkpoint is left" in attempt(copy)
    what = r"checkpoints/4 is damaged \(codec/metadata has changed since it was saved\); no other checkpoint is left"
    with Checkpoints(copy, read_only=True) as checkpoints, pytest.raises(UsageError, match=what):
        checkpoints.select("latest")
    with pytest.raises(UsageError, match=what + "; use another workdir"):
        Checkpoints(copy)
    assert [path.name for path in copy.iterdir()] == ["checkpoints"]


@pytest.mark.parametrize("read", ["restore", "restore_params"])
def test_shapes_of_another_model(saved, read):
    wanted = state()
    wanted.params["kernel"] = jnp.zeros((64, 32))
    like = wanted if read == "restore" else wanted.params
    message = r"params/kernel is \(64, 64\), but the config needs \(64, 32\); .* another workdir"
    with Checkpoints(saved, read_only=True) as checkpoints, pytest.raises(UsageError, match=message):
        getattr(checkpoints, read)(4, jax.eval_shape(lambda: like))


def test_parameters_that_are_not_there(saved):
    wanted = state()
    wanted.params["more"] = jnp.zeros(3)
    with Checkpoints(saved, read_only=True) as checkpoints, pytest.raises(UsageError, match="params/more is missing"):
        checkpoints.restore(4, jax.eval_shape(lambda: wanted))
