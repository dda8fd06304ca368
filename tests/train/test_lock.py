"""One writer for a workdir: who is refused, who takes over from whom, and what is left."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from xlstm_jax.errors import UsageError
from xlstm_jax.train.workdir import lock
from xlstm_jax.train.workdir.lock import RUN_LOCK, Held, Lock, check_free, read_lock

HOLDER = """
import sys, time
from pathlib import Path
from xlstm_jax.train.workdir.lock import Lock
with Lock(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / RUN_LOCK


@contextlib.contextmanager
def other_process(path):
    """One that holds the lock, for as long as it lives."""
    process = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def elsewhere(path, quiet):
    """The lock of a process on another host, whose last sign of life is that old."""
    path.unlink(missing_ok=True)
    with Lock(path):
        text = path.read_text()
    about = json.loads(text) | {"host": "node7", "space": "another start", "token": "other"}
    path.write_text(json.dumps(about))
    then = time.time() - quiet
    os.utime(path, (then, then))


def test_held_for_as_long_as_it_is_used(path):
    check_free(path.parent)
    with Lock(path) as held:
        assert json.loads(path.read_text())["pid"] == os.getpid()
        with pytest.raises(Held, match=rf"workdir .* is in use by process {os.getpid()} on .*; wait for it to end"):
            Lock(path).__enter__()
        held.check()
    assert not list(path.parent.iterdir())
    with pytest.raises(ZeroDivisionError), Lock(path):
        1 / 0  # noqa: B018
    assert not path.exists()


def test_another_process_of_this_host(path):
    """Refused while it lives; taken over at once when it was killed, before and after its parent knows of it."""
    with other_process(path) as process:
        before = path.read_bytes()
        for take in (lambda: check_free(path.parent), Lock(path).__enter__):
            with pytest.raises(Held, match=rf"is in use by process {process.pid} on "):
                take()
        assert path.read_bytes() == before and list(path.parent.iterdir()) == [path]
        process.send_signal(signal.SIGKILL)
        while lock._stat(process.pid)[0] not in ("Z", ""):
            time.sleep(0.001)
        check_free(path.parent)
        with Lock(path):
            assert read_lock(path).pid == os.getpid()
    assert not list(path.parent.iterdir())


def test_another_process_with_the_number_of_one_that_is_gone(path):
    with Lock(path):
        text = path.read_text()
    path.write_text(json.dumps(json.loads(text) | {"started": "1", "token": "earlier"}))
    with Lock(path):
        assert read_lock(path).token != "earlier"


def test_a_process_of_another_host(path):
    """Counts as gone after the stated time without a sign of life."""
    elsewhere(path, lock.GONE_SECONDS - 30)
    message = r"process \d+ on node7 since .* \(last heartbeat 9\d s ago; after 120 s it counts as gone\); wait"
    with pytest.raises(Held, match=message):
        Lock(path).__enter__()
    with pytest.raises(Held, match="on node7"):
        check_free(path.parent)
    elsewhere(path, lock.GONE_SECONDS + 5)
    check_free(path.parent)
    with Lock(path):
        assert read_lock(path).host != "node7"


def test_signs_of_life(path, monkeypatch):
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    with Lock(path):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.01)
        assert time.time() - path.stat().st_mtime < 60


def test_a_lock_that_was_taken_over(path, monkeypatch):
    """As from a process that was suspended: it learns of it, and leaves the other one's lock alone."""
    monkeypatch.setattr(lock, "BEAT_SECONDS", 0.02)
    with Lock(path) as held:
        elsewhere_text = json.dumps(json.loads(path.read_text()) | {"token": "other"})
        path.write_text(elsewhere_text)
        deadline = time.monotonic() + 10
        while not held.lost and time.monotonic() < deadline:
            time.sleep(0.01)
        with pytest.raises(UsageError, match=r"run\.lock was taken over by another process.*to resume"):
            held.check()
    assert path.read_text() == elsewhere_text


@pytest.mark.parametrize("content", [b"", b"\xff{", b"[]", b'{"pid": "x"}'])
def test_damaged(path, monkeypatch, content):
    """Held by nobody knows whom, until it is old."""
    monkeypatch.setattr(lock, "MAKING_SECONDS", 0.0)
    path.write_bytes(content)
    with pytest.raises(Held, match="in use by process 0 on an unknown host"):
        Lock(path).__enter__()
    os.utime(path, (0, 0))
    with Lock(path):
        assert read_lock(path).pid == os.getpid()
    assert not list(path.parent.iterdir())


def test_no_right_to_write(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match=r"cannot be written \(Not a directory\); use another workdir"):
        Lock(tmp_path / "file" / RUN_LOCK).__enter__()


def test_of_two_that_take_over_one_alone_succeeds(path):
    """The slower one has seen the same holder that is gone, and must not take the lock from the quicker one."""
    elsewhere(path, lock.GONE_SECONDS + 5)
    gone = read_lock(path)
    with Lock(path):
        mine = path.read_bytes()
        assert not Lock(path)._take_over(gone)
        assert path.read_bytes() == mine and list(path.parent.iterdir()) == [path]


def test_taking_over_that_is_under_way(path):
    """Is left to the one that does it, unless that one was killed in the middle of it."""
    elsewhere(path, lock.GONE_SECONDS + 5)
    before, gone = path.read_bytes(), read_lock(path)
    guard = path.with_name(f"{RUN_LOCK}.{gone.token}")
    guard.touch()
    assert not Lock(path)._take_over(gone)
    assert path.read_bytes() == before and guard.exists()
    os.utime(guard, (0, 0))
    with Lock(path):
        assert read_lock(path).pid == os.getpid()
    assert not list(path.parent.iterdir())
