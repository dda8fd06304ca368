"""Checkpoints: which are kept, what comes back, and what a damaged one says."""

import gc
import re
import shutil
import subprocess
import sys
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.cells.slstm import empty_state
from xlstm_jax.errors import UsageError
from xlstm_jax.train.checkpoint import Checkpoints

TOKENIZER, DATA = {"kind": "char", "characters": "\n abé"}, {"iterator": {"next_index": 7}, "fingerprint": "0a"}


class State(NamedTuple):
    step: jax.Array
    params: Any
    carry: Any


def state(seed: int = 0) -> State:
    """Leaves of several dtypes, NamedTuples, a None, infinities: what a training state may hold."""
    rng = np.random.default_rng(seed)
    kernel = jnp.asarray(rng.standard_normal((64, 64)), jnp.float32)
    params = {"kernel": kernel, "blocks": {0: {"b": jnp.asarray(rng.standard_normal(5), jnp.float32)}}}
    carry = (empty_state((2, 3)), jnp.asarray(rng.standard_normal((2, 3)), jnp.bfloat16), None)
    return State(jnp.asarray(seed, jnp.int32), params, carry)


def save(checkpoints: Checkpoints, step: int, loss: float | None = None) -> None:
    checkpoints.save(step, state(step), DATA, TOKENIZER, loss)
    checkpoints.wait()


def assert_same(got, wanted):
    assert jax.tree.structure(got) == jax.tree.structure(wanted)
    for a, b in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))


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


def test_restored_is_saved(saved):
    with Checkpoints(saved, read_only=True) as checkpoints:
        restored = checkpoints.restore(4, jax.eval_shape(lambda: state()))
        assert_same(restored.state, state(4))
        assert isinstance(restored.state, State) and isinstance(restored.state.carry[0], type(empty_state((1,))))
        assert (restored.data, restored.tokenizer) == (DATA, TOKENIZER)
        assert checkpoints.tokenizer(3) == TOKENIZER
        assert_same(checkpoints.restore_params(3, jax.eval_shape(lambda: state().params)), state(3).params)


def test_a_save_holds_the_values_of_its_moment(tmp_path):
    """The next step donates the state's buffers while the save is in flight."""
    change = jax.jit(lambda s: jax.tree.map(lambda leaf: leaf + jnp.ones_like(leaf), s), donate_argnums=0)
    with Checkpoints(tmp_path) as checkpoints:
        before = jax.tree.map(jnp.copy, state(1))  # a buffer a leaf, as donation wants it
        checkpoints.save(1, before, DATA, TOKENIZER)
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
        with pytest.raises(UsageError, match="holds no checkpoint; train there first"):
            checkpoints.select("best")
        save(checkpoints, 1)
        assert checkpoints.select("best") == 1  # none was evaluated: the latest
        save(checkpoints, 2, 1.0)
        save(checkpoints, 3, 2.0)
        assert [checkpoints.select(which) for which in ("best", "latest", "1")] == [2, 3, 1]
        for which in ("9", "first", "-1", ""):
            with pytest.raises(UsageError, match=rf"checkpoint '{which}' is not there; .* best, latest, or .* 1, 2, 3"):
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
        checkpoints.tokenizer(4)
        checkpoints.restore(4, jax.eval_shape(lambda: state()))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def largest(folder):
    return max((path for path in folder.rglob("*") if path.is_file()), key=lambda path: path.stat().st_size)


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def garbage(path):
    path.write_bytes(b"\x00garbage")


@pytest.fixture
def collected():
    """Collect garbage within this test, under its own filters, and not in whichever test comes later."""
    yield
    gc.collect()


# orbax leaves coroutines behind where a read fails, each of which complains when it is collected.
@pytest.mark.usefixtures("collected")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("harm", [cut, garbage, lambda path: path.unlink()], ids=["cut", "garbage", "deleted"])
@pytest.mark.parametrize(
    "which", ["arrays", "state/_METADATA", "state/manifest.ocdbt", "data/metadata", "tokenizer/metadata"]
)
def test_damaged_checkpoint_without_sums(copy, which, harm):
    """One from before there were sums: says which folder to delete and what is then taken."""
    step = copy / "checkpoints" / "4"
    (step / "SHA256SUMS").unlink()
    harm(largest(step) if which == "arrays" else step / which)
    assert f"checkpoint {step} is damaged" in (message := attempt(copy))
    assert "delete that folder: then step 3 is taken" in message
    shutil.rmtree(step)
    with Checkpoints(copy, read_only=True) as checkpoints:
        assert checkpoints.select("latest") == 3
        assert_same(checkpoints.restore(3, jax.eval_shape(lambda: state())).state, state(3))


@pytest.mark.parametrize("harm", [cut, garbage])
def test_damaged_metrics(copy, harm):
    """They are read when the folder is opened."""
    harm(copy / "checkpoints" / "4" / "metrics" / "metrics")
    assert f"{copy / 'checkpoints'} cannot be opened" in attempt(copy)


def test_the_only_checkpoint_damaged(copy):
    shutil.rmtree(copy / "checkpoints" / "3")
    cut(copy / "checkpoints" / "4" / "tokenizer" / "metadata")
    assert "no other checkpoint is left" in attempt(copy)
    what = r"checkpoints/4 is damaged \(tokenizer/metadata is not as it was saved\); no other checkpoint is left"
    with Checkpoints(copy, read_only=True) as checkpoints, pytest.raises(UsageError, match=what):
        checkpoints.select("latest")
    with pytest.raises(UsageError, match=what + "; use another workdir"):
        Checkpoints(copy)
    assert [path.name for path in copy.iterdir()] == ["checkpoints"]


def test_sums_are_those_of_all_files(saved):
    """As another program sees them. orbax writes the files beside the folders when it gives a save its name."""
    step = saved / "checkpoints" / "4"
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=step, capture_output=True, text=True, check=True)
    checked = {line.removesuffix(": OK") for line in done.stdout.splitlines()}
    files = {path.relative_to(step).as_posix() for path in step.rglob("*") if path.is_file()}
    assert files - checked == {"SHA256SUMS", "_CHECKPOINT_METADATA", "commit_success.txt"}
    assert {name.split("/")[0] for name in checked} == {"state", "data", "tokenizer", "metrics"}


def flip(path):
    """One bit of one byte."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def summed(step):
    return sorted(line.split("  ")[1] for line in (step / "SHA256SUMS").read_text(encoding="utf-8").splitlines())


def test_flipped_bytes_in_any_file(copy, tmp_path, capsys):
    """Reading takes the one before and says so; training moves the damaged one out of its way first."""
    step = copy / "checkpoints" / "4"
    names = [name for name in [*summed(step), "SHA256SUMS"] if (step / name).stat().st_size]
    assert len(names) > 10
    for count, name in enumerate(names, start=1):
        flip(step / name)
        with Checkpoints(copy, read_only=True) as checkpoints:
            assert checkpoints.select("latest") == 3
            line = f"checkpoint {step} is damaged ("
            assert (shown := capsys.readouterr().err).startswith(line) and shown.endswith("); step 3 is taken\n")
            with pytest.raises(UsageError, match=r"is damaged \(.*\); allowed: best, latest, or one of 3$"):
                checkpoints.select("4")
        kept = step.rename(tmp_path / "kept")
        shutil.copytree(kept, step)
        with Checkpoints(copy) as checkpoints:
            assert checkpoints.steps == [3]
        place = copy / "checkpoints-damaged" / f"4.{count}"
        assert f"moved to {place}; step 3 is taken\n" in capsys.readouterr().err and (place / name).is_file()
        flip(kept / name)
        kept.rename(step)
    with Checkpoints(copy) as checkpoints:
        assert checkpoints.steps == [3, 4] and capsys.readouterr().err == ""


@pytest.mark.parametrize("harm", [cut, garbage, lambda path: path.unlink()], ids=["cut", "garbage", "deleted"])
@pytest.mark.parametrize("which", ["arrays", "metrics/metrics", "data/metadata"])
def test_training_goes_on_past_a_damaged_checkpoint(copy, which, harm, capsys):
    """And saves its step again."""
    step = copy / "checkpoints" / "4"
    harm(largest(step) if which == "arrays" else step / which)
    with Checkpoints(copy, keep=2) as checkpoints:
        assert checkpoints.latest_step() == 3 and "step 3 is taken" in capsys.readouterr().err
        assert_same(checkpoints.restore(3, jax.eval_shape(lambda: state())).state, state(3))
        save(checkpoints, 4, 2.0)
    with Checkpoints(copy, read_only=True) as checkpoints:
        assert checkpoints.select("latest") == 4


def test_best_is_damaged(tmp_path, capsys):
    """The next best of the others is taken."""
    with Checkpoints(tmp_path, keep=4) as checkpoints:
        for step, loss in {1: 0.7, 2: 0.5, 3: 0.6, 4: None}.items():
            save(checkpoints, step, loss)
    flip(largest(tmp_path / "checkpoints" / "2"))
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.select("best") == 3 and "checkpoints/2 is damaged" in capsys.readouterr().err
        assert checkpoints.select("latest") == 4 and capsys.readouterr().err == ""
    for step in "13":
        flip(tmp_path / "checkpoints" / step / "metrics" / "metrics")
    with Checkpoints(tmp_path, read_only=True) as checkpoints:
        assert checkpoints.select("best") == 4 and "; step 4 is taken\n" in capsys.readouterr().err


@pytest.mark.parametrize("what", ["file", "folder", "checkpoint"])
def test_links_are_refused(copy, tmp_path, what):
    """They may point to whatever the user can read."""
    step = copy / "checkpoints" / "4"
    target = {"file": step / "data" / "metadata", "folder": step / "data", "checkpoint": step}[what]
    target.symlink_to(target.rename(tmp_path / "elsewhere"))
    with Checkpoints(copy, read_only=True) as checkpoints:
        with pytest.raises(UsageError, match=r"4 is damaged \((it|data|data/metadata) is a link\)"):
            checkpoints.select("4")
        assert checkpoints.select("latest") == 3
    with Checkpoints(copy) as checkpoints:
        assert checkpoints.steps == [3]
    assert (tmp_path / "elsewhere").exists()


def test_older_checkpoints_without_sums_are_taken(copy):
    for step in "34":
        (copy / "checkpoints" / step / "SHA256SUMS").unlink()
    with Checkpoints(copy) as checkpoints:
        assert checkpoints.steps == [3, 4] and checkpoints.select("latest") == 4


@pytest.mark.parametrize("read", ["restore", "restore_params"])
def test_shapes_of_another_model(saved, read):
    wanted = state()
    wanted.params["kernel"] = jnp.zeros((64, 32))
    like = wanted if read == "restore" else wanted.params
    message = r"holds params/kernel as \(64, 64\), and the config wants \(64, 32\); .* another workdir"
    with Checkpoints(saved, read_only=True) as checkpoints, pytest.raises(UsageError, match=message):
        getattr(checkpoints, read)(4, jax.eval_shape(lambda: like))


def test_parameters_that_are_not_there(saved):
    wanted = state()
    wanted.params["more"] = jnp.zeros(3)
    with Checkpoints(saved, read_only=True) as checkpoints, pytest.raises(UsageError, match="params/more as nothing"):
        checkpoints.restore(4, jax.eval_shape(lambda: wanted))


def test_full_disk(small_disk, capfd):
    """One line; the checkpoints before stay, and the next one is saved as soon as there is room."""
    like = jax.eval_shape(lambda: state())
    with pytest.raises(UsageError) as caught, Checkpoints(small_disk, keep=1000) as checkpoints:
        for step in range(1, 100):
            checkpoints.save(step, state(step), DATA, TOKENIZER)
    failed = int(re.match(r"checkpoint (\d+) cannot be saved in ", str(caught.value))[1])
    end = (
        f" (No space left on device); the last whole one is step {failed - 1}; make room there, and run again to go on"
    )
    assert str(caught.value).endswith(end) and failed > 1
    with Checkpoints(small_disk, keep=1) as checkpoints:
        assert checkpoints.steps == list(range(1, failed))
        for step in checkpoints.steps:
            assert_same(checkpoints.restore(step, like).state, state(step))
        shutil.rmtree(checkpoints.folder / "1")
    with Checkpoints(small_disk, keep=1) as checkpoints:
        save(checkpoints, failed)
        assert checkpoints.select("latest") == failed
        assert_same(checkpoints.restore(failed, like).state, state(failed))
    assert capfd.readouterr().err == ""


LIMITED = """
import resource, sys
import tests.conftest
from tests.train.test_checkpoint import save
from xlstm_jax.train.checkpoint import Checkpoints
with Checkpoints(sys.argv[1], keep=9) as checkpoints:
    save(checkpoints, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
    save(checkpoints, 2)
"""


def test_no_larger_files(tmp_path):
    """As on a full disk, for those who may not mount one."""
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert (
        "UsageError: checkpoint 2 cannot be saved" in last and "(File too large); the last whole one is step 1" in last
    )
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [1]
        assert_same(checkpoints.restore(1, jax.eval_shape(lambda: state())).state, state(1))
