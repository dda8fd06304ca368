"""One writer for a folder: a lock file that names host and process, and that is free again when the process is gone."""

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
BEAT_SECONDS = 10.0  # between two signs of life
GONE_SECONDS = 120.0  # without a sign of life, after which a process of another host counts as gone
MAKING_SECONDS = 1.0  # for which a file that cannot be read may be one that is just being written


class Held(UsageError):
    """Another process, which still runs, has the lock; `who` names it."""

    def __init__(self, who: str):
        super().__init__(f"{who}; wait for it to end, or use another workdir")
        self.who = who


class Holder(NamedTuple):
    """What is in a lock file, and how old its last sign of life is."""

    host: str
    pid: int
    space: str  # of process numbers: two processes of one space can see each other; "" where that is not known
    started: str  # of the process, so that a later one with its number is told apart; "" where that is not known
    token: str  # of this taking of the lock
    since: str  # for people
    quiet: float  # seconds since the last sign of life

    @property
    def gone(self) -> bool:
        """Whether the process has ended: known at once of one on this host, of others after `GONE_SECONDS`."""
        if not self.here:
            return self.quiet > GONE_SECONDS
        # With no time of its start, as on macOS, another process may have its number by now.
        return not _runs(self.pid, self.started) or (not self.started and self.quiet > GONE_SECONDS)

    @property
    def here(self) -> bool:
        """Whether this process can see that one, as those of one host do unless a container divides them."""
        return self.pid > 0 and (self.space == _space() if self.space else self.host == socket.gethostname())


class Lock:
    """Held from `with` on to its end, by one process; the file is removed then.

    A holder that is gone, as after `kill -9`, is no obstacle. The file is made by an exclusive creation, and taken over
    under the protection of a second such file, so that of several processes one alone succeeds, on network file
    systems too.

    Raises:
        Held: another process has it.
    """

    def __init__(self, path: Path):
        self.path = Path(path)
        self.lost = False  # taken over by another process, while this one was suspended for long
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
        """Raise `UsageError` where the lock was lost: what another process writes must not be written over."""
        if self.lost:
            raise UsageError(
                f"{self.path} is no longer that of this process, which may have been suspended for over "
                f"{GONE_SECONDS:.0f} s; it ends, so that two do not write there; run again to go on"
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
                continue  # it was given up in the meantime
            if not found.gone:
                raise Held(_user(self.path, found))
            if self._take_over(found):
                return

    def _take_over(self, found: Holder) -> bool:
        """Put this process in the place of one that is gone; False where another one was quicker."""
        guard = self.path.with_name(f"{self.path.name}.{found.token or 'damaged'}")
        try:
            self._write(guard)
        except FileExistsError:
            with contextlib.suppress(FileNotFoundError):
                if _now(guard.parent) - guard.stat().st_mtime > GONE_SECONDS:  # killed in these few lines
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
    """Who has the lock, or had it when it was killed; None where there is no such file."""
    begun = time.monotonic()
    while True:
        try:
            with open(path, encoding="utf-8", errors="replace") as file:  # opened, its times are those of the server
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
    """Raise `Held` where another process trains in the workdir; nothing is taken and nothing written."""
    found = read_lock(workdir / RUN_LOCK)
    if found is not None and not found.gone:
        raise Held(_user(workdir / RUN_LOCK, found))


def _user(path: Path, found: Holder) -> str:
    """Who uses the lock's folder, for messages."""
    user = f"workdir {path.parent} is in use by process {found.pid} on {found.host} since {found.since}"
    if not found.here:
        quiet = f"{max(found.quiet, 0):.0f} s"
        user += f" (its last sign of life was {quiet} ago; after {GONE_SECONDS:.0f} s it counts as gone)"
    return user


def _space() -> str:
    """Names what processes share that see one another's numbers: a start of the system and a container."""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return ""


def _runs(pid: int, started: str) -> bool:
    """Whether the process with that number runs, and began then, as far as both are known."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # another user's
    state, since = _stat(pid)
    return state not in ("Z", "X") and (not started or not since or started == since)


def _stat(pid: int) -> tuple[str, str]:
    """(state, time of start) of a process, as Linux tells them; ("", "") elsewhere."""
    with contextlib.suppress(OSError):
        # The name, in brackets, may hold anything; the state is the first field after it, the start the twentieth.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        return fields[0], fields[19]
    return "", ""


def _now(folder: Path) -> float:
    """The time by the clock that stamps the folder's files, which may be a server's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:  # no right to write there
        return time.time()
