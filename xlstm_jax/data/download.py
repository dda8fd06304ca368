"""Public data files by name, from a local mirror or downloaded once into a cache. SHA-256 is always checked."""

import os
from pathlib import Path
from typing import NamedTuple

import pooch

from xlstm_jax.console import plain_console
from xlstm_jax.errors import UsageError, one_line

CONNECT_SECONDS = 5.0
READ_SECONDS = 20.0


class RemoteFile(NamedTuple):
    url: str
    sha256: str


def github(repository: str, commit: str, path: str) -> str:
    return f"https://raw.githubusercontent.com/{repository}/{commit}/{path}"


# A name is also the file's path in the mirror and in the cache. Modules that read a data set add its files.
FILES: dict[str, RemoteFile] = {
    "tinyshakespeare/input.txt": RemoteFile(
        github("karpathy/char-rnn", "6f9487a6fe5b420b7ca9afb0d7c078e37c1d1b4e", "data/tinyshakespeare/input.txt"),
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
}


def cache_dir() -> Path:
    """`XLSTM_JAX_CACHE` if set, else the operating system's cache folder for this project."""
    return Path(os.path.expanduser(os.environ.get("XLSTM_JAX_CACHE") or pooch.os_cache("xlstm_jax")))


def mirror_dir() -> Path | None:
    """The folder that `XLSTM_JAX_DATA_MIRROR` names, if it is set."""
    mirror = os.environ.get("XLSTM_JAX_DATA_MIRROR")
    return Path(os.path.expanduser(mirror)) if mirror else None


def fetch(name: str) -> Path:
    """Returns the local path of the file `name` of `FILES` after checking its SHA-256.

    If `XLSTM_JAX_DATA_MIRROR` is set, the file is `<mirror>/<name>` and nothing is downloaded. Otherwise the first call
    downloads it into the cache, atomically.

    Raises:
        UsageError: the name is unknown, the file is missing from the mirror or has the wrong SHA-256, or the download
            failed.
    """
    if name not in FILES:
        raise UsageError(f"unknown data file {name!r}; known: {', '.join(sorted(FILES))}")
    return _from_mirror(mirror, name) if (mirror := mirror_dir()) else _from_network(name)


def _from_mirror(mirror: Path, name: str) -> Path:
    path, remote = mirror / name, FILES[name]
    remedy = f"put the file from {remote.url} there, or unset XLSTM_JAX_DATA_MIRROR to download it"
    if not path.is_file():
        raise UsageError(f"XLSTM_JAX_DATA_MIRROR is {str(mirror)!r}, which does not contain {name}; {remedy}")
    try:
        sha256 = pooch.file_hash(str(path), alg="sha256")
    except OSError as error:
        raise UsageError(f"cannot read {str(path)!r}: {one_line(error)}; {remedy}") from error
    if sha256 != remote.sha256:
        raise UsageError(f"{str(path)!r} has SHA-256 {sha256}, expected {remote.sha256}; {remedy}")
    return path


def _from_network(name: str) -> Path:
    remote, path = FILES[name], cache_dir() / name
    # Pooch logs each download; the status line below is enough.
    pooch.get_logger().setLevel("WARNING")
    # Pooch does not close a streamed response that failed. These files are small enough to read at once.
    downloader = pooch.HTTPDownloader(timeout=(CONNECT_SECONDS, READ_SECONDS), stream=False)
    try:
        if path.is_file() and pooch.file_hash(str(path), alg="sha256") == remote.sha256:
            return path
        with plain_console(stderr=True).status(f"downloading {name}"):
            pooch.retrieve(
                remote.url,
                known_hash=f"sha256:{remote.sha256}",
                fname=path.name,
                path=path.parent,
                downloader=downloader,
            )
    except (OSError, ValueError) as error:  # requests' errors are OSErrors, a wrong checksum is a ValueError
        reason = f"{type(error).__name__}: {one_line(error, 90)}"
        raise UsageError(
            f"could not fetch {name} from {remote.url} into {str(path.parent)!r} ({reason}); "
            "set XLSTM_JAX_DATA_MIRROR to a folder that has it, or use other data: --config.data.path=FILE, or "
            "configs/quickstart.py, which needs no network"
        ) from error
    return path
