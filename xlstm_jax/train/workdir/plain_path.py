"""A path that orbax and tensorstore take as it is, for a folder of any name."""

import re
import tempfile
from pathlib import Path

from xlstm_jax.errors import UsageError

# In other paths they read brackets, stars and backslashes as patterns, and "/gs/" or "gs:" as a bucket.
PLAIN = re.compile(r"(?!/(?:gs|s3|az|hf)/)[\w/.,=+@~ -]+", re.ASCII)


class PlainPath:
    """`path` leads to `folder`: it is the folder's own where that is plain, and else a link in a temporary folder.

    Args:
        folder: absolute; it need not be there yet.

    Raises:
        UsageError: they would not take the path of the temporary folder as it is either.
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
                f"{folder} has characters for which checkpoints need a link, and so has the link's own path, "
                f"{self.path}; set TMPDIR to a folder such as /tmp"
            )
        self.path.symlink_to(folder, target_is_directory=True)

    def remove(self) -> None:
        """Remove the link, if there is one, and nothing that it leads to."""
        if self._place is not None:
            self._place.cleanup()

    def named(self, text: str) -> str:
        """`text` with the folder's own name."""
        return text.replace(str(self.path), str(self._folder))
