"""Shared by all command-line programs: parsing flags, and printing each error as one line with exit status 2."""

import errno
import importlib.util
import inspect
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from absl import app, flags, logging

from experiments.programs.memory import asked_for, what_there_is
from xlstm_jax.errors import PeerLost, UsageError, one_line, out_of_memory
from xlstm_jax.files import FULL

PEER_LOST = 3  # exit status
# Errors of the operating system about a path that the user gave, or about something in such a folder.
REFUSED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EISDIR, errno.ENOTDIR, errno.ENAMETOOLONG, errno.ELOOP)
INT32_MOST = 2**31 - 1
MOST = 10**6  # processes, seconds or rounds: far more than anyone needs
ROOT = Path(__file__).parents[2]  # the checkout, or the folder where the packages are installed


def run(main: Callable[[], int | None], smaller: str = "use a smaller model or fewer rows at once") -> None:
    """Parses the flags, calls `main` and exits with its result; a `UsageError` is printed as one line, exit status 2.

    Running out of memory is handled in the same way; `smaller` says what to do about it.
    """

    def guarded(argv: list[str]) -> int:
        if len(argv) > 1:
            return _fail(f"unexpected argument {argv[1]!r}; options are written --name=value")
        try:
            return main() or 0
        except PeerLost as error:
            _fail(str(error))
            sys.stderr.flush()
            os._exit(PEER_LOST)  # a normal exit would wait for the lost process
        except UsageError as error:
            return _fail(str(error))
        except BrokenPipeError:
            # The reader of our output (such as `| head`) closed the pipe. That is not an error.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except OSError as error:
            what = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes | os.PathLike) else ""
            if error.errno in FULL:
                return _fail(f"cannot write{what} ({error.strerror}); free space there and run again to resume")
            if what and error.errno in REFUSED:
                return _fail(f"cannot use{what} ({error.strerror}); give another path, or change its permissions")
            raise
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            return _fail(f"out of memory ({asked_for(error)}); {what_there_is(error)}; {smaller}")

    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # file names may contain bytes that are not text
    sys.unraisablehook = _quiet_reads
    app.run(guarded, flags_parser=_parse)


def start_jax(*, keep_memory: bool = True) -> None:
    """Keeps compiled programs in the user's cache folder, so that a second run starts in a tenth of the time.

    `keep_memory` also keeps freed memory; see `keep_freed_memory`.
    """
    if keep_memory:
        keep_freed_memory()
    import jax
    import pooch

    folder = os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(pooch.os_cache("xlstm_jax") / "compiled")
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.2)


def keep_freed_memory() -> None:
    """Lets the C library keep freed memory, instead of returning it to the system and requesting it page by page.

    XLA's CPU backend allocates its temporaries in every step: a sixth to a third of a recurrent layer's time was spent
    on fresh pages, which the system fills with zeros. Affects memory allocated after the call, with glibc (most Linux).
    Does nothing elsewhere.
    """
    import ctypes

    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # <malloc.h>
    mallopt(trim_threshold, -1)  # never shrink the heap
    mallopt(mmap_max, 0)  # large blocks come from the heap too
    mallopt(arena_max, 1)  # one heap for all threads: the others' are too small for a large block


def located(path: str) -> str:
    """Returns the file for a path or a module's dotted name; `path` itself if there is no such file.

    If a path does not exist, it is looked up in the project, so `configs/...` works from any folder. A name without
    slash and suffix is a module, such as `my_package.config`.
    """
    if os.path.isfile(path):
        return path
    if (ROOT / path).is_file():
        return str(ROOT / path)
    if re.fullmatch(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", path) and not path.endswith(".py"):
        try:
            found = importlib.util.find_spec(path)  # imports the packages that the module is in
        except (ModuleNotFoundError, ValueError):
            return path
        except Exception as error:  # whatever the package's own code raises
            kind = type(error).__name__
            raise UsageError(f"module {path!r} cannot be imported: {kind}: {one_line(error)}; fix it") from error
        if found is not None and found.origin and os.path.isfile(found.origin):
            return found.origin
    return path


def made_folder(out: str) -> Path:
    """The folder of --out, made where it is not there; raises `UsageError` if it cannot be."""
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"--out={out} cannot be made ({error.strerror}); give another folder") from error
    return Path(out)


def module_at(path: str) -> ModuleType:
    """Runs a Python file, found as in `located`, and returns it as a new module."""
    spec = importlib.util.spec_from_file_location(f"_{Path(path).stem}", located(path))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def config_at(name: str) -> Any:
    """Returns the config for FILE or FILE:VARIANT."""
    path, _, variant = name.partition(":")
    get_config = module_at(path).get_config
    return get_config(variant) if variant else get_config()


def _quiet_reads(unraisable) -> None:
    """Hides the warnings of other reads that orbax abandons if one array of a checkpoint cannot be read."""
    closed = str(unraisable.exc_value) == "Event loop is closed"
    if not closed and not inspect.iscoroutine(unraisable.object):
        sys.__unraisablehook__(unraisable)


def _fail(message: str) -> int:
    # One line, even if a path in the message contains newlines.
    line = "".join(c if c.isprintable() else repr(c)[1:-1] for c in message)
    print(f"error: {line}", file=sys.stderr)
    return 2


def _parse(argv: list[str]) -> list[str]:
    app.define_help_flags()
    config = _config_argument(argv)
    if config == "" and "config" in flags.FLAGS:
        sys.exit(_fail("--config= is empty; give a file, such as one of configs/"))
    config = config or ""
    path, colon, variant = config.partition(":")
    try:
        file = located(path)
    except UsageError as error:
        sys.exit(_fail(str(error)))
    if config and not os.path.isfile(file):
        sys.exit(_fail(f"config file {path!r} does not exist; the project's config files are in configs/"))
    full = f"{file}{colon}{variant}"
    argv = [re.sub(rf"\A((--?config=)?){re.escape(config)}\Z", lambda match: match[1] + full, a) for a in argv]
    try:
        rest = flags.FLAGS(argv)
    except (flags.Error, AttributeError, KeyError, OSError, ImportError, SyntaxError, TypeError, ValueError) as error:
        sys.exit(_fail(_flag_error(argv, config, error)))
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        # If the default is not empty, an empty value usually comes from a shell variable that is not set.
        if flag.present and flag.default not in ("", []) and flag.value in ("", []):
            key = name.removeprefix("config.")
            otherwise = "" if key == name else f"; if it is to be empty, write it as a variant, FILE:VARIANT,{key}="
            sys.exit(_fail(f"--{name}= is empty; give a value, or leave the option out{otherwise}"))
    if not flags.FLAGS["verbosity"].present:
        logging.set_verbosity(logging.WARNING)  # --verbosity=0 also logs what was chosen and why
    return rest


def _config_argument(argv: list[str]) -> str | None:
    """Returns FILE from --config=FILE or --config FILE; None if the flag is missing."""
    for argument, following in zip(argv, [*argv[1:], ""], strict=True):
        if match := re.fullmatch(r"--?config(=.*)?", argument, flags=re.DOTALL):
            return match[1][1:] if match[1] else following
    return None


def _flag_error(argv: list[str], config: str, error: Exception) -> str:
    """Returns one line for an error from absl or ml_collections while they parse flags and load a config file."""
    lines = [line for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    if "Error whilst parsing config file" in lines[0]:
        # A traceback follows; its last line is what the config file raised.
        return f"config {config}: {re.sub(r'^[A-Za-z_.]*(Error|Exception): ', '', lines[-1])}"
    for argument in argv:
        match = re.match(r"--?config\.([\w.]+)", argument)
        if config and match and (allowed := _allowed_keys(config, match[1])):
            return f"config key {match[1]!r} is unknown; allowed there: {', '.join(allowed)}"
    missing = re.match(r"flag --(\w+)=None: ", lines[0])
    if one_of := re.search(r"Exactly one of \((\w+), (\w+)\) must have a value", lines[0]):
        return f"give one of --{one_of[1]} and --{one_of[2]}; --help shows the options"
    if missing:
        return f"--{missing[1]} is required; --help shows the options"
    return one_line(error)


def _allowed_keys(config: str, key: str) -> list[str]:
    """Returns the keys of the section that lacks `key`; empty if the config has the key."""
    node = config_at(config)
    for part in key.split("."):
        if part not in node:
            return sorted(node.keys())
        node = node[part]
        if not hasattr(node, "keys"):
            return []
    return []
