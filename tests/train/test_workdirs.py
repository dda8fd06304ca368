"""Workdirs: of any name a file system takes, used by one run at a time, with a config.json that may be damaged."""

import contextlib
import json
import os
import re
import shutil
import threading

import jax
import pytest

from tests.tasks.examples import tiny_config, write_text
from tests.train.saving import assert_same, failed_reads, save, state
from xlstm_jax.errors import UsageError
from xlstm_jax.train.loop import train
from xlstm_jax.train.sections import NAMES as NAMES_OF_SECTIONS
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.checkpoint import Checkpoints
from xlstm_jax.train.workdir.damage import write_sums
from xlstm_jax.train.workdir.folder import check_workdir, read_config
from xlstm_jax.train.workdir.lock import RUN_LOCK, Held, Lock
from xlstm_jax.train.workdir.metrics import read_metrics
from xlstm_jax.train.workdir.plain_path import PlainPath

pytestmark = pytest.mark.usefixtures("rolled")

NAMES = ["run[1]", "[...]", "a\\b*?", "gs:", "new\nline", "\"q' ünï 日本 #%41{$HOME}|", os.fsdecode(b"no text \xff")]


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_checkpoints_in_a_folder_of_any_name(tmp_path, name):
    """Written, opened again, read whole and in part; no link is left, and what is damaged is set aside."""
    workdir, links = tmp_path / name / "run", tmp_path / "links"
    links.mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(links))
        with Checkpoints(workdir, keep=2) as checkpoints:
            save(checkpoints, 3, 1.0)
            save(checkpoints, 4, 2.0)
        (workdir / "checkpoints" / "4" / "data" / "metadata").write_bytes(b"x")
        with Checkpoints(workdir) as checkpoints:
            assert checkpoints.steps == [3] and (workdir / "checkpoints-damaged" / "4.1").is_dir()
        like = jax.eval_shape(lambda: state())
        with Checkpoints(workdir, read_only=True) as checkpoints:
            assert checkpoints.select("best") == 3
            assert_same(checkpoints.restore(3, like).state, state(3))
            assert_same(checkpoints.restore_params(3, like.params), state(3).params)
    assert not list(links.iterdir())


@failed_reads
def test_checkpoints_of_an_earlier_version_in_such_a_folder(tmp_path):
    """Saved as they were, with the arrays of one process not merged: nobody is told to delete what is whole."""
    like = jax.eval_shape(lambda: state())
    with Checkpoints(tmp_path / "run[1]") as checkpoints:
        save(checkpoints, 3)
        folder = checkpoints.folder / "3"
        arrays = folder / "state"
        (arrays / "manifest.ocdbt").unlink()
        shutil.rmtree(arrays / "d")
        write_sums(folder)
        what = re.escape(f"; copy the files in {arrays}/ocdbt.process_0 to {arrays}, and run again")
        for read in (lambda: checkpoints.restore(3, like), lambda: checkpoints.restore_params(3, like.params)):
            with pytest.raises(
                UsageError, match=rf"^checkpoint 3 in .* has its arrays only in ocdbt\.process_0.*{what}$"
            ):
                read()
        shutil.copytree(arrays / "ocdbt.process_0", arrays, dirs_exist_ok=True)
        assert_same(checkpoints.restore(3, like).state, state(3))


def test_a_plain_folder_needs_no_link(tmp_path):
    assert PlainPath(tmp_path).path == tmp_path
    for name in ("gs", "s3", "az", "hf"):  # which etils would take for buckets
        path = PlainPath(tmp_path.__class__("/", name, "run"))
        assert path.path != tmp_path.__class__("/", name, "run") and path.path.is_symlink()
        path.remove()
        assert not path.path.is_symlink()


def test_temporary_files_in_a_folder_that_needs_a_link_itself(tmp_path, monkeypatch):
    (tmp_path / "tmp[1]").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp[1]"))
    with pytest.raises(UsageError, match="set TMPDIR to a folder such as /tmp"):
        PlainPath(tmp_path / "run[1]")
    assert not list((tmp_path / "tmp[1]").iterdir())


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_text(tmp_path_factory.mktemp("text") / "text.txt", words=60)


@pytest.fixture
def config(text):
    return small(text)


def small(text):
    config = tiny_config("language_model", text)
    config.model.pattern, config.model.recurrent.cell, config.model.features = "r", "rnn", 8
    config.data.sequence_length, config.data.batch_size = 8, 4
    config.train.steps = config.train.eval_every = 2
    config.sample.length = 0
    return config


@pytest.fixture(scope="module")
def trained(text, tmp_path_factory):
    """A run of two steps, for copies of it."""
    workdir = tmp_path_factory.mktemp("trained") / "run[1] [i]a\\b :x:"
    with jax.numpy_dtype_promotion("standard"):  # as tests/conftest.py sets it, after this fixture
        assert train(small(text), workdir) == 0
    return workdir


@pytest.fixture
def workdir(trained, tmp_path):
    return shutil.copytree(trained, tmp_path / trained.name)


def test_a_run_in_a_folder_of_any_name(config, workdir, capsys):
    """Taken up again and loaded; what is printed has the name as it is."""
    config.train.steps = 4
    assert train(config, workdir) == 0
    shown = capsys.readouterr().out
    assert "resuming from step 2" in shown and f"checkpoints, metrics.jsonl and loss.png are in {workdir}\n" in shown
    assert saved.load(workdir).step in (2, 4) and read_metrics(workdir)[-1]["step"] == 4
    assert not list(workdir.glob("*lock*"))


def test_a_workdir_in_use(config, workdir, monkeypatch):
    """One line that names the process, before the data are read; nothing is touched."""
    config.train.steps = 4
    with Lock(workdir / RUN_LOCK):
        before = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in workdir.rglob("*") if path.is_file()}
        monkeypatch.setattr("xlstm_jax.train.loop.build", None)
        with pytest.raises(Held, match=rf"workdir .* is in use by process {os.getpid()} on .* since"):
            train(config, workdir)
        after = {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in workdir.rglob("*") if path.is_file()}
        assert after == before
        assert saved.load(workdir).step == 2  # reading needs no lock


@pytest.mark.parametrize("in_training", [False, True])
def test_a_checkpoint_that_is_removed_while_it_is_read(workdir, monkeypatch, in_training):
    """As a training does that goes on: no damage, and the next one is read. Its files may go one after the other."""
    folder, build = workdir / "checkpoints", saved.build
    shutil.copytree(folder / "2", folder / "3")
    removals = []

    def built(*args):
        if not removals:
            shutil.rmtree(folder / "3" / "state" if in_training else folder / "3")
            removals.append(threading.Timer(0.3, shutil.rmtree, (folder / "3",), {"ignore_errors": True}))
            removals[0].start()
        return build(*args)

    monkeypatch.setattr(saved, "build", built)
    with Lock(workdir / RUN_LOCK) if in_training else contextlib.nullcontext():
        assert saved.load(workdir, "latest").step == 2
    removals[0].join()
    with pytest.raises(UsageError, match=r"checkpoint '3' does not exist; choose best, latest, or one of 2"):
        saved.load(workdir, "3")


def test_a_lock_that_is_lost_ends_the_run(config, tmp_path, monkeypatch):
    workdir, check = tmp_path / "run", Lock.check

    def taken_over(self):
        self.lost = True
        check(self)

    monkeypatch.setattr(Lock, "check", taken_over)
    with pytest.raises(UsageError, match=r"run\.lock was taken over by another process"):
        train(config, workdir)
    assert [record["step"] for record in read_metrics(workdir)] == [0]


@pytest.mark.parametrize("section", NAMES_OF_SECTIONS)
@pytest.mark.parametrize("value", ["missing", [1], None, 1.5])
def test_a_config_with_a_section_that_is_none(config, tmp_path, section, value):
    """Refused by name, by training and by what reads a run; a run from before there was a mesh has one of default."""
    values = json.loads(json.dumps(config.to_dict()))
    if value == "missing":
        del values[section]
    else:
        values[section] = value
    path = tmp_path / "config.json"
    path.write_text(json.dumps(values), encoding="utf-8")
    if value == "missing" and section in ("mesh", "plugins"):
        assert read_config(path)["mesh"]["fsdp"] == 1 and read_config(path)["plugins"] == ""
        return
    what = rf"config\.json is damaged: '{section}' is (missing|not dict|not int|not str); restore it from a copy"
    for read in (lambda: check_workdir(tmp_path, config.to_dict()), lambda: saved.load(tmp_path)):
        with pytest.raises(UsageError, match=what):
            read()


@pytest.mark.parametrize("content", [b"[]", b"3", b"\xff", b"", b"{" * 100_000, b'{"trian": {}}'])
def test_a_config_that_is_none(config, tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    for read in (lambda: check_workdir(tmp_path, config.to_dict()), lambda: saved.load(tmp_path)):
        with pytest.raises(UsageError, match=r"config\.json (cannot be read as JSON|is damaged)"):
            read()


def test_a_section_inside_a_section(workdir):
    """A value in its place is refused by name."""
    values = read_config(workdir / "config.json")
    values["model"]["mlstm"] = 3
    (workdir / "config.json").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(UsageError, match=r"model\.mlstm 3 is not allowed; must be a section with keys"):
        saved.load(workdir)


def test_memory_that_does_not_suffice_is_no_damage(tmp_path, monkeypatch):
    """Of a whole checkpoint: its folder must not be called one to be deleted."""
    with Checkpoints(tmp_path) as checkpoints:
        save(checkpoints, 3, 1.0)
        for error in (MemoryError("Unable to allocate 9 TiB"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")):

            def fail(*_, error=error, **__):
                raise error

            monkeypatch.setattr(checkpoints._manager, "restore", fail)
            with pytest.raises(type(error), match=str(error)):
                checkpoints.restore(3, jax.eval_shape(lambda: state()))
            with pytest.raises(type(error), match=str(error)):
                checkpoints.codec(3)
