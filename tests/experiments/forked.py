"""Runs programs in forks of a process that has imported the libraries, which saves over a second each.

A request is a line of JSON on standard input; the answer is a line with the exit status on standard output.
"""

import atexit
import gc
import importlib
import json
import os
import runpy
import sys
import threading
import traceback
import warnings

# Libraries that the programs import. None of them starts the backend, whose threads a fork would lose.
LIBRARIES = ("flax.nnx", "grain.python", "matplotlib", "ml_collections", "optax", "orbax.checkpoint", "rich.progress")
LIBRARIES += ("safetensors", "tensorboardX", "tokenizers")


def next_program() -> str | None:
    """In a child, sets arguments, environment and streams and returns the module to run. None at the end."""
    for line in sys.stdin:
        request = json.loads(line)
        child = os.fork()
        if child == 0:
            for stream, number in (("/dev/null", 0), (request["out"], 1), (request["err"], 2)):
                file = os.open(stream, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
                os.dup2(file, number)
                os.close(file)
            os.environ.clear()
            os.environ.update(request["env"])
            sys.argv[1:] = request["arguments"]
            return request["module"]
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
    return None


def run(module: str) -> int:
    """Runs a program, its threads and exit functions to the end; returns its exit status."""
    status = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else int(end.code is not None)
        if isinstance(end.code, str):
            print(end.code, file=sys.stderr)
    except BaseException:
        traceback.print_exc()
        status = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    return status


if __name__ == "__main__":
    warnings.filterwarnings("ignore", message=r"os\.fork\(\) was called")
    for library in LIBRARIES:
        importlib.import_module(library)
    gc.freeze()
    module = next_program()
    if module is not None:
        del sys.modules["__main__"]
        status = run(module)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # unloading the libraries takes longer than most of these programs
