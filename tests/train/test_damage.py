"""Checkpoints on a disk that fails: changed bytes, links, no room."""

import hashlib
import re
import shutil
import subprocess
import sys

import jax
import pytest

from tests.train.saving import CODEC, DATA, assert_same, cut, failed_reads, flip, garbage, largest, save, state
from xlstm_jax.errors import UsageError
from xlstm_jax.train.workdir.checkpoint import Checkpoints
from xlstm_jax.train.workdir.damage import find_damage


def test_sums_are_those_of_all_files(saved):
    """As another program sees them. orbax writes the files beside the folders when it gives a save its name."""
    step = saved / "checkpoints" / "4"
    done = subprocess.run(["sha256sum", "--check", "SHA256SUMS"], cwd=step, capture_output=True, text=True, check=True)
    checked = {line.removesuffix(": OK") for line in done.stdout.splitlines()}
    files = {path.relative_to(step).as_posix() for path in step.rglob("*") if path.is_file()}
    assert files - checked == {"SHA256SUMS", "_CHECKPOINT_METADATA", "commit_success.txt"}
    assert {name.split("/")[0] for name in checked} == {"state", "data", "codec", "metrics"}


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
            assert (shown := capsys.readouterr().err).startswith(line) and shown.endswith("); using step 3\n")
            with pytest.raises(UsageError, match=r"is damaged \(.*\); choose best, latest, or one of 3$"):
                checkpoints.select("4")
        kept = step.rename(tmp_path / "kept")
        shutil.copytree(kept, step)
        with Checkpoints(copy) as checkpoints:
            assert checkpoints.steps == [3]
        place = copy / "checkpoints-damaged" / f"4.{count}"
        assert f"moved to {place}; using step 3\n" in capsys.readouterr().err and (place / name).is_file()
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
        assert checkpoints.latest_step() == 3 and "using step 3" in capsys.readouterr().err
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
        assert checkpoints.select("best") == 4 and "; using step 4\n" in capsys.readouterr().err


def test_sums_of_files_outside(copy, tmp_path):
    """Are not looked for."""
    (tmp_path / "secret").write_bytes(b"")
    step = copy / "checkpoints" / "4"
    for name in ("../../../secret", str(tmp_path / "secret")):
        (step / "SHA256SUMS").write_text(f"{hashlib.sha256().hexdigest()}  {name}\n")
        assert find_damage(step) == f"{name} is missing"


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


@failed_reads
def test_full_disk(small_disk, capfd):
    """One line; the checkpoints before stay, and the next one is saved as soon as there is room."""
    like = jax.eval_shape(lambda: state())
    with pytest.raises(UsageError) as caught, Checkpoints(small_disk, keep=1000) as checkpoints:
        for step in range(1, 100):
            checkpoints.save(step, state(step), DATA, CODEC)
    failed = int(re.match(r"checkpoint (\d+) cannot be saved in ", str(caught.value))[1])
    end = (
        f" (No space left on device); the last complete one is step {failed - 1}; "
        "free space there and run again to resume"
    )
    assert str(caught.value).endswith(end) and failed > 2
    with Checkpoints(small_disk, keep=1) as checkpoints:
        assert checkpoints.steps == list(range(1, failed))
        for step in checkpoints.steps:
            assert_same(checkpoints.restore(step, like).state, state(step))
    rest = small_disk / "rest"
    with pytest.raises(UsageError) as caught, Checkpoints(small_disk, keep=1) as checkpoints:
        rest.write_bytes(bytes(shutil.disk_usage(small_disk).free))  # opening has cleared away what the failed one left
        save(checkpoints, failed)
    assert str(caught.value).endswith(end)
    rest.unlink()
    for step in "12":  # two make room for one: they differ in how many small files orbax makes of the same arrays
        shutil.rmtree(checkpoints.folder / step)
    with Checkpoints(small_disk, keep=1) as checkpoints:
        save(checkpoints, failed)
        assert checkpoints.select("latest") == failed
        assert_same(checkpoints.restore(failed, like).state, state(failed))
    assert capfd.readouterr().err == ""


LIMITED = """
import resource, sys
import tests.conftest
from tests.train.saving import save
from xlstm_jax.train.workdir.checkpoint import Checkpoints
with Checkpoints(sys.argv[1], keep=9) as checkpoints:
    save(checkpoints, 1)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, 9000))
    save(checkpoints, 2)
"""


def test_no_larger_files(tmp_path):
    """As on a full disk, for those who may not mount one."""
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=False)
    what = r"UsageError: checkpoint 2 cannot be saved in .* \(File too large\); the last complete one is step 1; free"
    assert done.returncode and re.search(what, done.stderr)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.steps == [1]
        assert_same(checkpoints.restore(1, jax.eval_shape(lambda: state())).state, state(1))
