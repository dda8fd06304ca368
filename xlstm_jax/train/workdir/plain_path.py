"""A path that orbax and tensorstore use literally, for a folder of any name."""

import re
import tempfile
from pathlib import Path

from xlstm_jax.errors import UsageError

# In other paths they treat brackets, stars and backslashes as patterns, and "/gs/" or "gs:" as a bucket.
PLAIN = re.compile(r"(?!/(?:gs|s3|az|hf)/)[\w/.,=+@~ -]+", re.ASCII)


class PlainPath:
    """`path` leads to `folder`: the folder's own path if that is plain, else a link in a temporary folder.

    Args:
        folder: absolute; need not exist yet.

    Raises:
        UsageError: the path of the temporary folder is not plain either.
    """

    def __init__(self, folder: Path):
        self._folder, self._place, self.path = folder, None, folder
        if PLAIN.fullmatch(str(folder)):
            return
        self._place = tempfile.TemporaryDirectory(prefix="xlstm_jax-", ignore_cleanup_errors=True)
        self.path = Path(self._place.name) / "folder"
        if not PLAIN.fullmatch(str(self.path)):
            self.remove()
            raise UsageError(
                f"{folder} has characters that checkpoints cannot use without a link, and so does the link's path "
                f"{self.path}; set TMPDIR to a folder such as /tmp"
            )
        self.path.symlink_to(folder, target_is_directory=True)

    def remove(self) -> None:
        """Removes the link, if there is one, but not the folder it leads to."""
        if self._place is not None:
            self._place.cleanup()

    def named(self, text: str) -> str:
        """Replaces the link's path in a text with the folder's own path."""
        return text.replace(str(self.path), str(self._folder))
