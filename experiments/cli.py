"""What all command-line programs share: flags parsed and errors shown as one line each, exit status 2 for usage."""

import os
import re
import sys
from collections.abc import Callable

from absl import app, flags

from xlstm_jax.errors import UsageError, one_line


def run(main: Callable[[], int | None]) -> None:
    """Parse the flags, call `main`, exit with its result; a `UsageError` is printed as one line, exit status 2."""

    def guarded(argv: list[str]) -> int:
        if len(argv) > 1:
            return _fail(f"unexpected argument {argv[1]!r}; options are written --name=value")
        try:
            return main() or 0
        except UsageError as error:
            return _fail(str(error))
        except BrokenPipeError:
            # The reader of our output (`| head`) has left; that is no failure of ours.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0

    app.run(guarded, flags_parser=_parse)


def start_jax() -> None:
    """Compiled programs are kept between runs, in the user's cache folder: a second run starts in a tenth of the time."""
    import jax
    import pooch

    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(pooch.os_cache("xlstm_jax") / "compiled")
    jax.config.update("jax_compilation_cache_dir", folder)


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


def _parse(argv: list[str]) -> list[str]:
    app.define_help_flags()
    try:
        return flags.FLAGS(argv)
    except flags.Error as error:
        # absl puts the option before the message of a config file's own error.
        message = re.sub(r"^flag --config=(\S+): ", r"config \1: ", one_line(error, limit=2000))
        sys.exit(_fail(message))
    except UsageError as error:
        sys.exit(_fail(str(error)))
    except (AttributeError, KeyError, OSError, ImportError, SyntaxError, TypeError, ValueError) as error:
        sys.exit(_fail(_config_error(argv, error)))


def _config_error(argv: list[str], error: Exception) -> str:
    """A line for what ml_collections raises while it loads a config file or overrides a key of it."""
    path = next((a.split("=", 1)[1] for a in argv if re.match(r"--?config=", a)), None)
    if path is None:
        return f"{one_line(error)}; give --config=FILE before options that change it"
    if isinstance(error, FileNotFoundError) or not os.path.exists(path.split(":")[0]):
        return f"config file {path.split(':')[0]!r} does not exist; those of the project are in configs/"
    for argument in argv:
        match = re.match(r"--?config\.([\w.]+)", argument)
        if match and (allowed := _allowed_keys(path, match[1])) is not None:
            return f"config key {match[1]!r} is unknown; allowed there: {', '.join(allowed)}"
    return f"config {path}: {one_line(error)}"


def _allowed_keys(path: str, key: str) -> list[str] | None:
    """The keys beside `key` where it does not exist in the config of `path`; None where it does."""
    from ml_collections.config_flags import config_flags

    node = config_flags._ConfigFileParser("config").parse(path)
    for part in key.split("."):
        if not hasattr(node, "keys"):
            return []
        if part not in node:
            return sorted(node.keys())
        node = node[part]
    return None
