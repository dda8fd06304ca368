"""Files and folders that are at all times the old one or the whole new one."""

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)  # a disk, a quota, the largest file allowed


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """A name beside `path` for the body to write a file or a folder under; at the end it becomes `path`.

    Where the body fails, what it wrote goes and `path` stays as it is. A folder takes the place of none, or of an empty
    one. The name ends as `path` does, for libraries that choose a format by it.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary, ignore_errors=True)
        else:
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON under a temporary name, then rename: a reader sees the old file or the new one."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
