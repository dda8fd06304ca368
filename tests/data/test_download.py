"""Fetching from a mirror and from the network (a server on loopback), and clean failures."""

import functools
import hashlib
import http.server
import os
import threading
import time

import pytest

from xlstm_jax.data import download
from xlstm_jax.errors import UsageError

NAME = "tinyshakespeare/input.txt"
REAL_MIRROR = os.environ.get("XLSTM_JAX_DATA_MIRROR")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("XLSTM_JAX_DATA_MIRROR", raising=False)
    monkeypatch.setenv("XLSTM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def server(tmp_path):
    """The address of a folder served over HTTP, and the folder."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    handler = functools.partial(QuietHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}", folder
        httpd.shutdown()
        thread.join()


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def one_line_error(name=NAME):
    with pytest.raises(UsageError) as caught:
        download.fetch(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_name_lists_known_ones():
    assert NAME in one_line_error("tinyshakespear/input.txt")


def test_mirror_with_a_wrong_file(tmp_path, monkeypatch):
    monkeypatch.setenv("XLSTM_JAX_DATA_MIRROR", str(tmp_path))
    assert "does not contain tinyshakespeare/input.txt" in one_line_error()
    (tmp_path / "tinyshakespeare").mkdir()
    (tmp_path / NAME).write_text("First Citizen:\n")
    message = one_line_error()
    assert download.FILES[NAME].sha256 in message and str(tmp_path / NAME) in message


def test_mirror_serves_the_checked_file(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes(b"hello")
    sha256 = hashlib.sha256(b"hello").hexdigest()
    monkeypatch.setitem(download.FILES, "a.txt", download.RemoteFile("http://127.0.0.1:9/a.txt", sha256))
    monkeypatch.setenv("XLSTM_JAX_DATA_MIRROR", str(tmp_path))
    assert download.fetch("a.txt") == tmp_path / "a.txt"


@pytest.mark.skipif(not REAL_MIRROR, reason="needs XLSTM_JAX_DATA_MIRROR, a folder with the real files")
def test_real_mirror():
    assert download.fetch(NAME).read_bytes().startswith(b"First Citizen:\n")


def test_no_network_and_no_mirror(cache, monkeypatch):
    remote = download.FILES[NAME]._replace(url="http://127.0.0.1:9/input.txt")
    monkeypatch.setitem(download.FILES, NAME, remote)
    start = time.monotonic()
    message = one_line_error()
    assert time.monotonic() - start < 10
    assert NAME in message and "XLSTM_JAX_DATA_MIRROR" in message and "--config.data.path" in message
    assert files_in(cache) == []


def test_downloads_once(cache, server, monkeypatch):
    address, upstream = server
    (upstream / "a.txt").write_bytes(b"hello\r\n")
    remote = download.RemoteFile(f"{address}/a.txt", hashlib.sha256(b"hello\r\n").hexdigest())
    monkeypatch.setitem(download.FILES, "set/a.txt", remote)
    path = download.fetch("set/a.txt")
    assert path == cache / "set" / "a.txt" and path.read_bytes() == b"hello\r\n"
    (upstream / "a.txt").unlink()
    assert download.fetch("set/a.txt") == path


def test_a_damaged_cache_is_downloaded_again(cache, server, monkeypatch):
    address, upstream = server
    (upstream / "a.txt").write_bytes(b"hello")
    remote = download.RemoteFile(f"{address}/a.txt", hashlib.sha256(b"hello").hexdigest())
    monkeypatch.setitem(download.FILES, "a.txt", remote)
    cache.mkdir()
    (cache / "a.txt").write_bytes(b"hel")
    assert download.fetch("a.txt").read_bytes() == b"hello"


@pytest.mark.parametrize("served", ["changed.txt", "missing.txt"])
def test_a_bad_download_leaves_nothing(cache, server, monkeypatch, served):
    address, upstream = server
    (upstream / "changed.txt").write_bytes(b"other bytes")
    remote = download.RemoteFile(f"{address}/{served}", hashlib.sha256(b"hello").hexdigest())
    monkeypatch.setitem(download.FILES, "a.txt", remote)
    assert "could not fetch a.txt" in one_line_error("a.txt")
    assert files_in(cache) == []
