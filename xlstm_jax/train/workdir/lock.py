"""A lock file that allows one writer per folder. It names host and process; if the process is gone, it is free."""

import contextlib
import json
import os
import socket
import tempfile
import threading
import time
import uuid
from pathlib import Path
from typing import NamedTuple

from xlstm_jax.errors import UsageError
from xlstm_jax.files import FULL

RUN_LOCK = "run.lock"  # in the workdir of a run
BEAT_SECONDS = 10.0  # between heartbeats
GONE_SECONDS = 120.0  # a process on another host counts as gone after this long without a heartbeat
MAKING_SECONDS = 1.0  # for this long, an unreadable file may be in the middle of being written


class Held(UsageError):
    """Another running process has the lock; `who` names it."""

    def __init__(self, who: str):
        super().__init__(f"{who}; wait for it to end, or use another workdir")
        self.who = who


class Holder(NamedTuple):
    """The content of a lock file and the age of its last heartbeat."""

    host: str
    pid: int
    space: str  # pid namespace; processes in the same one can see each other; "" if unknown
    started: str  # start time of the process, to detect a later process with its pid; "" if unknown
    token: str  # unique for each acquisition of the lock
    since: str  # time of the acquisition, for people
    quiet: float  # seconds since the last heartbeat

    @property
    def gone(self) -> bool:
        """Whether the process has ended: known at once for a process on this host, else after `GONE_SECONDS`."""
        if not self.here:
            return self.quiet > GONE_SECONDS
        # If the start time is unknown, as on macOS, another process may have the pid by now.
        return not _runs(self.pid, self.started) or (not self.started and self.quiet > GONE_SECONDS)

    @property
    def here(self) -> bool:
        """Whether this process can see the holder: they are on one host and not in separate containers."""
        return self.pid > 0 and (self.space == _space() if self.space else self.host == socket.gethostname())


class Lock:
    """Context manager that holds the lock for one process and removes the file at exit.

    A lock whose holder is gone, as after `kill -9`, is taken over. The lock file is created exclusively. A second such
    file guards a takeover. So only one of several processes succeeds, also on network file systems.

    Raises:
        Held: another process has the lock.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.lost = False  # whether another process took the lock over while this one was suspended
        self._token = uuid.uuid4().hex
        self._ended = threading.Event()
        self._beats = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> "Lock":
        self._take()
        self._beats.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._beats.join()
        found = read_lock(self.path)
        if found is not None and found.token == self._token:
            self.path.unlink(missing_ok=True)

    def check(self) -> None:
        """Raises `UsageError` if the lock was lost, so that this process does not overwrite another one's files."""
        if self.lost:
            raise UsageError(
                f"{self.path} was taken over by another process, perhaps because this one was suspended for over "
                f"{GONE_SECONDS:.0f} s; stopping, so that only one writes there; run again to resume"
            )

    def _take(self) -> None:
        while True:
            try:
                return self._write(self.path)
            except FileExistsError:
                found = read_lock(self.path)
            except OSError as error:
                if error.errno in FULL:
                    raise
                raise UsageError(f"{self.path} cannot be written ({error.strerror}); use another workdir") from error
            if found is None:
                continue  # it was released in the meantime
            if not found.gone:
                raise Held(_user(self.path, found))
            if self._take_over(found):
                return

    def _take_over(self, found: Holder) -> bool:
        """Takes the lock from a holder that is gone; returns False if another process was faster."""
        guard = self.path.with_name(f"{self.path.name}.{found.token or 'damaged'}")
        try:
            self._write(guard)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if _now(guard.parent) - guard.stat().st_mtime > GONE_SECONDS:  # its owner was killed in this function
                    guard.unlink()
            time.sleep(0.01)
            return False
        again = read_lock(self.path)
        if again is None or again.token != found.token or not again.gone:
            guard.unlink(missing_ok=True)
            return False
        os.replace(guard, self.path)
        return True

    def _write(self, path: Path) -> None:
        about = {
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "space": _space(),
            "started": _stat(os.getpid())[1],
            "token": self._token,
            "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        }
        with open(path, "x", encoding="utf-8") as file:
            try:
                file.write(json.dumps(about) + "\n")
                file.flush()
            except OSError:
                path.unlink(missing_ok=True)
                raise

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # the next beat may succeed
                found = read_lock(self.path)
                if found is None or found.token != self._token:
                    self.lost = True
                    return
                os.utime(self.path)


def read_lock(path: Path) -> Holder | None:
    """Reads the lock's holder, which may be gone; returns None if there is no lock file."""
    begun = time.monotonic()
    while True:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:  # opening refreshes its times from the server
                text, beat = file.read(), os.fstat(file.fileno()).st_mtime
        except (FileNotFoundError, NotADirectoryError):
            return None
        try:
            about = json.loads(text)
            texts = [str(about[name]) for name in ("host", "space", "started", "token", "since")]
            pid = int(about["pid"])
        except (ValueError, KeyError, TypeError, RecursionError):
            if time.monotonic() - begun < MAKING_SECONDS:
                time.sleep(0.02)
                continue
            texts, pid = ["an unknown host", "", "", "", "an unknown time"], 0
        host, space, started, token, since = texts
        holder = Holder(host, pid, space, started, token, since, 0.0)
        return holder if holder.here and started else holder._replace(quiet=_now(path.parent) - beat)


def check_free(workdir: Path) -> None:
    """Raises `Held` if another process trains in the workdir. Does not take the lock."""
    found = read_lock(workdir / RUN_LOCK)
    if found is not None and not found.gone:
        raise Held(_user(workdir / RUN_LOCK, found))


def _user(path: Path, found: Holder) -> str:
    """Describes the process that uses the lock's folder, for messages."""
    user = f"workdir {path.parent} is in use by process {found.pid} on {found.host} since {found.since}"
    if not found.here:
        quiet = f"{max(found.quiet, 0):.0f} s"
        user += f" (last heartbeat {quiet} ago; after {GONE_SECONDS:.0f} s it counts as gone)"
    return user


def _space() -> str:
    """Identifies the pid namespace: the boot of the system and the container. "" if unknown."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _runs(pid: int, started: str) -> bool:
    """Whether the process with that pid is running and has that start time, as far as this is known."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # the process belongs to another user
    state, since = _stat(pid)
    return state not in ("Z", "X") and (not started or not since or started == since)


def _stat(pid: int) -> tuple[str, str]:
    """(state, start time) of a process on Linux; ("", "") elsewhere."""
    with contextlib.suppress(OSError):
        # The name, in brackets, may contain anything. After it, the state is field 1 and the start time field 20.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    return "", ""


def _now(folder: Path) -> float:
    """The time by the clock that stamps the folder's files, which may be a file server's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # no permission to write there
        return time.time()
