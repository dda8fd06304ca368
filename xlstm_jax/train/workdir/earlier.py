"""Configs of runs that an earlier version saved, in today's terms."""

from typing import Any

# What a section of every run has had since it was introduced, with the value that runs before it had.
ADDED = {"mesh": {"data": 0, "fsdp": 1, "tensor": 1, "context": 1}, "plugins": ""}
# Knobs of the recurrent block that are now options of its cell, with the values at which the cell kept its own.
CELL_OPTIONS = {"forget_bias": 1.0, "recurrent_init": "orthogonal"}


def upgraded(config: dict[str, Any]) -> dict[str, Any]:
    """The config as this version writes it; what is damaged in it stays so.

    Before version 0.2 `model.recurrent.options` were knobs of their own, `model.transformer.window` was called context,
    every task had the keys of the text that is shown at the end of training, and `model.kind` of sentiment was a bool,
    `model.reads`.
    """
    config = ADDED | config
    model = dict(config["model"]) if isinstance(config.get("model"), dict) else {}
    transformer, recurrent = model.get("transformer"), model.get("recurrent")
    if isinstance(transformer, dict) and "context" in transformer:
        window = {"window": transformer["context"]}
        model["transformer"] = {key: value for key, value in transformer.items() if key != "context"} | window
    if isinstance(recurrent, dict) and any(name in recurrent for name in CELL_OPTIONS):
        changed = {
            name: recurrent[name]
            for name, usual in CELL_OPTIONS.items()
            if name in recurrent and recurrent[name] != usual
        }
        options = {"options": ",".join(f"{name}={value}" for name, value in changed.items())}
        model["recurrent"] = {key: value for key, value in recurrent.items() if key not in CELL_OPTIONS} | options
    if config.get("task") == "sentiment" and type(model.get("reads")) is bool:
        model["kind"] = "stack" if model.pop("reads") else "majority"
    if model:
        config["model"] = model
    sample = config.get("sample")
    if config.get("task") != "language_model" and isinstance(sample, dict) and sample.get("length") == 0:
        config["sample"] = {}
    return config
