"""Archives from a mirror, from a server on loopback and from pip: what is taken, and clean failures."""

import functools
import gzip
import http.server
import io
import os
import stat
import sys
import tarfile
import threading
import zipfile

import pytest

from xlstm_jax.data import archives
from xlstm_jax.data.archives import RemoteArchive, digest, unpacked
from xlstm_jax.errors import UsageError

NAME = "set/set-1.0.tgz"
FILES = {"a.txt": b"first\r\n", "more/b.bin": bytes(range(256))}
TOP = "set-0123abc/"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.delenv("XLSTM_JAX_DATA_MIRROR", raising=False)
    monkeypatch.setenv("XLSTM_JAX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return tmp_path / "cache"


@pytest.fixture
def mirror(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("XLSTM_JAX_DATA_MIRROR", str(tmp_path / "mirror"))
    (tmp_path / "mirror" / "set").mkdir(parents=True)
    return tmp_path / "mirror"


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


@pytest.fixture
def known(monkeypatch):
    """Makes an archive known, by default one with the files of `FILES`."""

    def add(sources=("http://127.0.0.1:9/none.tgz",), members=("a.txt", "more/"), files=None, name=NAME, tops=(TOP,)):
        files = FILES if files is None else files
        size = sum(map(len, files.values()))
        monkeypatch.setitem(archives.ARCHIVES, name, RemoteArchive(sources, members, size, digest(files), tops))

    return add


def tar(files, *, top=TOP, links=(), mode="w:gz"):
    """A tar archive; a link is (name, kind, target)."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as archive:
        for name, kind, target in links:
            info = tarfile.TarInfo(top + name)
            info.type, info.linkname = kind, target
            archive.addfile(info)
        for name, data in files.items():
            info = tarfile.TarInfo(top + name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


def zipped(files, *, top=TOP):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(top + name, data)
    return out.getvalue()


def contents(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refused(name=NAME):
    with pytest.raises(UsageError) as caught:
        unpacked(name)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_unknown_name_lists_known_ones(known):
    known()
    assert NAME in refused("set/set-2.0.tgz")


@pytest.mark.parametrize("pack", [tar, zipped, functools.partial(tar, mode="w"), functools.partial(tar, mode="w:xz")])
def test_a_mirror_is_unpacked_into_the_cache(mirror, cache, known, pack):
    """Whatever else the archive holds, and under whatever folder; the second call needs no archive."""
    known()
    (mirror / NAME).write_bytes(pack(FILES | {"README.md": b"not taken", "more.txt": b"nor this"}))
    folder = unpacked(NAME)
    assert folder == cache / "set" / "set-1" and contents(folder) == FILES
    (mirror / NAME).unlink()
    assert unpacked(NAME) == folder


def test_the_digest_is_that_of_sha256sum():
    """Over the lines of `sha256sum a b`, in the order of names."""
    import hashlib

    lines = "".join(f"{hashlib.sha256(data).hexdigest()}  {name}\n" for name, data in (("a", b"1"), ("b", b"2")))
    assert digest({"b": b"2", "a": b"1"}) == hashlib.sha256(lines.encode()).hexdigest()
    assert digest({"a": b"12"}) != digest({"a": b"1", "b": b"2"}) != digest({"b": b"1", "a": b"2"})


def test_a_missing_mirror_file(mirror, known):
    known()
    message = refused()
    assert f"does not contain {NAME}" in message and str(mirror) in message and "unset XLSTM_JAX_DATA_MIRROR" in message


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[: len(data) // 2],
        lambda data: b"",
        lambda data: b"<html>not found</html>",
        lambda data: data[:30] + bytes([data[30] ^ 1]) + data[31:],
    ],
)
@pytest.mark.parametrize("pack", [tar, zipped])
def test_a_damaged_archive_leaves_nothing(mirror, cache, known, damage, pack):
    known()
    (mirror / NAME).write_bytes(damage(pack(FILES)))
    assert "could not unpack" in refused()
    assert contents(cache) == {} if cache.exists() else True


@pytest.mark.parametrize(
    "files",
    [
        {**FILES, "a.txt": b"other\r\n"},  # of the same size
        {"more/b.bin": FILES["more/b.bin"]},
        {**FILES, "more/c.bin": b""},
        {},
    ],
)
def test_other_files_than_expected(mirror, cache, known, files):
    known()
    (mirror / NAME).write_bytes(tar(files))
    assert "digest" in refused()
    assert not cache.exists() or contents(cache) == {}


def test_links_are_left_out(mirror, cache, known, tmp_path):
    """Symbolic and hard ones, and devices: what they point at is never read or written."""
    (tmp_path / "secret").write_bytes(FILES["a.txt"])
    known()
    links = [("a.txt", kind, str(tmp_path / "secret")) for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE)]
    (mirror / NAME).write_bytes(tar({"more/b.bin": FILES["more/b.bin"]}, links=links))
    assert "digest" in refused()
    links = [("more/up", tarfile.SYMTYPE, "../../.."), ("more/sub", tarfile.SYMTYPE, str(tmp_path))]
    (mirror / NAME).write_bytes(tar(FILES, links=links))
    folder = unpacked(NAME)
    assert contents(folder) == FILES and not any(path.is_symlink() for path in folder.rglob("*"))


def test_a_link_in_a_zip_is_a_file_with_its_target_as_text(mirror, known, tmp_path):
    (tmp_path / "secret").write_bytes(b"secret")
    known(files={"more/link": str(tmp_path / "secret").encode()}, members=("more/",))
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        info = zipfile.ZipInfo(f"{TOP}more/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, str(tmp_path / "secret"))
    (mirror / NAME).write_bytes(out.getvalue())
    link = unpacked(NAME) / "more/link"
    assert not link.is_symlink() and link.read_bytes() == str(tmp_path / "secret").encode()


@pytest.mark.parametrize("name", ["more/../../up.txt", "more/..", "more/a\\..\\b", "more/c:evil", "/more/root"])
@pytest.mark.parametrize("pack", [tar, zipped])
def test_names_that_lead_out_of_the_folder(mirror, cache, known, name, pack, tmp_path):
    known(members=("a.txt", "more/", "/more/"))
    top = "" if name.startswith("/") else TOP
    (mirror / NAME).write_bytes(pack({name: b"out"}, top=top))
    message = refused()
    # Python's zip reader cuts a name's leading slash and mends backslashes on Windows only.
    assert "leads out of the folder" in message or "digest" in message
    assert not list(tmp_path.rglob("up.txt")) and (not cache.exists() or contents(cache) == {})


def test_a_small_archive_of_too_much(mirror, cache, known):
    """Refused before it fills the memory."""
    known()
    (mirror / NAME).write_bytes(tar({"more/b.bin": bytes(50_000_000)}))
    assert (mirror / NAME).stat().st_size < 100_000
    import tracemalloc

    tracemalloc.start()
    assert "holds more than the data set" in refused()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5_000_000
    assert not cache.exists() or contents(cache) == {}


@pytest.mark.parametrize("harm", ["change", "cut", "more", "gone"])
def test_a_damaged_cache_is_mended(mirror, known, harm):
    known()
    (mirror / NAME).write_bytes(tar(FILES))
    folder = unpacked(NAME)
    file = folder / "a.txt"
    if harm == "more":
        (folder / "extra").write_bytes(b"x")
    elif harm == "gone":
        file.unlink()
    else:
        file.write_bytes(b"FIRST\r\n" if harm == "change" else b"f")
    assert contents(unpacked(NAME)) == FILES


def test_a_cache_that_cannot_be_mended_stays(mirror, known):
    """As it was: without a good archive there is nothing better."""
    known()
    (mirror / NAME).write_bytes(tar(FILES))
    folder = unpacked(NAME)
    (folder / "a.txt").write_bytes(b"f")
    (mirror / NAME).write_bytes(b"damaged too")
    assert "could not unpack" in refused()
    assert (folder / "a.txt").read_bytes() == b"f"
    (mirror / NAME).write_bytes(tar(FILES))
    assert contents(unpacked(NAME)) == FILES


def test_several_gzipped_files_are_one_data_set(server, cache, known):
    address, upstream = server
    for name, data in FILES.items():
        (upstream / f"{name.rpartition('/')[2]}.gz").write_bytes(gzip.compress(data))
    files = {name.rpartition("/")[2]: data for name, data in FILES.items()}
    known([f"{address}/{name}.gz" for name in files], tuple(files), files)
    folder = unpacked(NAME)
    assert contents(folder) == files
    for path in upstream.iterdir():
        path.unlink()
    assert unpacked(NAME) == folder
    assert contents(cache) == {f"set/set-1/{name}": data for name, data in files.items()}  # no archive is kept


def test_several_sources_together_hold_no_more(server, cache, known):
    """The sizes of all sources count: each alone would fit."""
    address, upstream = server
    for name in ("a.txt", "b.bin"):
        (upstream / f"{name}.gz").write_bytes(gzip.compress(bytes(200)))
    known([f"{address}/a.txt.gz", f"{address}/b.bin.gz"], ("a.txt", "b.bin"), {"a.txt": bytes(300)})
    assert "holds more than the data set" in refused()
    assert contents(cache) == {}


def test_an_archive_is_downloaded_once(server, cache, known):
    address, upstream = server
    (upstream / "set.tar.gz").write_bytes(tar(FILES))
    known((f"{address}/set.tar.gz",))
    assert contents(unpacked(NAME)) == FILES
    (upstream / "set.tar.gz").unlink()
    assert contents(unpacked(NAME)) == FILES


@pytest.mark.parametrize("served", ["changed.tgz", "missing.tgz", "page.tgz"])
def test_a_bad_download_leaves_nothing(server, cache, known, served):
    address, upstream = server
    (upstream / "changed.tgz").write_bytes(tar({**FILES, "a.txt": b"other\r\n"}))
    (upstream / "page.tgz").write_bytes(b"<html></html>")
    known((f"{address}/{served}",))
    message = refused()
    assert f"{address}/{served}" in message and "XLSTM_JAX_DATA_MIRROR" in message
    assert contents(cache) == {}


def test_no_network_and_no_mirror(cache, known):
    known()
    assert "http://127.0.0.1:9/none.tgz" in refused()
    assert contents(cache) == {}


# A program in place of pip: it writes the wheel that FAKE_WHEEL names, or fails.
FAKE_PIP = """
import os, pathlib, shutil, sys
assert sys.argv[1:3] == ["-m", "pip"] and sys.argv[3] == "download" and "--no-deps" in sys.argv
assert sys.argv[-1] == "series==1.0"
folder = next(word.partition("=")[2] for word in sys.argv if word.startswith("--dest="))
if not os.environ.get("FAKE_WHEEL"):
    sys.exit("WARNING: a mirror\\nERROR: No matching distribution found for series==1.0")
shutil.copy(os.environ["FAKE_WHEEL"], pathlib.Path(folder, "series-1.0-py3-none-any.whl"))
"""


@pytest.fixture
def pip(tmp_path, monkeypatch):
    program = tmp_path / "python"
    program.write_text(f"#!{sys.executable}\n{FAKE_PIP}", encoding="utf-8")
    program.chmod(0o755)
    monkeypatch.setattr(archives.sys, "executable", str(program))
    monkeypatch.setenv("FAKE_WHEEL", str(tmp_path / "wheel.whl"))
    return tmp_path / "wheel.whl"


@pytest.mark.skipif(os.name == "nt", reason="a program in place of Python needs a shebang")
class TestPackages:
    def test_a_package_is_what_pip_downloads(self, cache, known, pip):
        known(("pip:series==1.0",))
        pip.write_bytes(zipped(FILES | {"__init__.py": b""}))
        assert contents(unpacked(NAME)) == FILES
        pip.unlink()
        assert contents(unpacked(NAME)) == FILES
        assert not list(cache.rglob("*.whl"))

    def test_pip_fails(self, cache, known, pip, monkeypatch):
        monkeypatch.setenv("FAKE_WHEEL", "")
        known(("pip:series==1.0",))
        assert "No matching distribution found for series==1.0" in refused()
        assert contents(cache) == {}

    def test_the_package_holds_other_files(self, cache, known, pip):
        known(("pip:series==1.0",))
        pip.write_bytes(zipped({**FILES, "a.txt": b"other\r\n"}))
        assert "digest" in refused()
        assert contents(cache) == {}
