"""A small text, and the `tiny` config of any task upon it."""

import importlib
import pathlib

import numpy as np

import configs

WORDS = "the cat sat on a mat and saw two big dogs run by it.\n"


def write_text(path: pathlib.Path, words: int = 800, seed: int = 0) -> pathlib.Path:
    """Words in random order: enough sense to learn from, and the same in every run."""
    chosen = np.random.default_rng(seed).choice(WORDS.split(" "), words)
    path.write_text(" ".join(chosen), encoding="utf-8")
    return path


def tiny_config(task: str, text: pathlib.Path):
    """The `tiny` variant of that task among configs/*.py, on the given text where the task reads one."""
    for path in sorted(pathlib.Path(configs.__path__[0]).glob("[!_]*.py")):
        module = importlib.import_module(f"configs.{path.stem}")
        if "tiny" in getattr(module, "VARIANTS", ()):
            config = module.get_config("tiny")
            if config.task == task:
                config.mesh.data = 1  # tests run on eight
                if "source" in config.data:
                    config.data.path = str(text)
                return config
    raise LookupError(f"no file in configs/ has a variant 'tiny' of task {task!r}; every task needs one")
