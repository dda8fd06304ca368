"""Models trained over meshes, for the tests and as a table: python -m tests.train.meshes

Each model after four steps and an evaluation: how far its losses are from those of one device, the collectives of a
step, and what a device keeps (state and batch) and needs besides (temporaries).
"""

import collections
import pathlib
import re
import tempfile

import jax
import numpy as np

from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.step import abstract_state, compiled_step, init_state

STEPS = 4
TIME = 24  # in no shape but those of activations
MODELS = {
    "xLSTM": ("xm", "rms"),
    "paper's xLSTM": ("ms", "layer"),
    "LSTM": ("rr", "layer"),
    "Transformer": ("tt", "rms"),
}
MESHES = {
    "8x1x1x1": {"data": 8},
    "1x8x1x1": {"fsdp": 8},
    "2x4x1x1": {"data": 2, "fsdp": 4},
    "2x2x2x1": {"data": 2, "fsdp": 2, "tensor": 2},
    "1x2x4x1": {"fsdp": 2, "tensor": 4},
}


def run_of(text, model, mesh, *, scan_layers=False, **data):
    config = tiny_config("language_model", text)
    config.model.scan_layers = scan_layers
    config.model.pattern, config.model.norm = MODELS[model]
    config.data.update({"batch_size": 16, "sequence_length": TIME} | data)
    config.model.features = 32
    config.mesh.update({"data": 1} | mesh)
    return build(config.to_dict())


def batches_of(run):
    """The rows of this process of the training batches, from the first on."""
    return iter(run.task.train_batches(run.sections.seed, rows=run.placement.rows))


def trained(run):
    """Losses of the first steps and of the validation text, and the parameters after them."""
    with jax.set_mesh(run.placement.mesh):
        state, batches, losses = init_state(run), batches_of(run), []
        for _ in range(STEPS):
            state, metrics = compiled_step(run)(state, run.placement.batch(next(batches)))
            losses.append(float(metrics["loss"]))
        losses.append(evaluate(run, state.params, "validation", carry=True)["loss"])
        return losses, jax.device_get(state.params)


def compiled(run):
    """The program of a training step."""
    with jax.set_mesh(run.placement.mesh):
        batch = run.placement.batch(next(batches_of(run)))
        return compiled_step(run).lower(abstract_state(run), batch).compile()


def collectives(program):
    """(kind, shapes) of every collective of a program."""
    kinds = "all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter"
    found = []
    for shapes, kind in re.findall(rf"= (.*?) ({kinds})(?:-start)?\(", program.as_text()):
        sizes = re.findall(r"\w+\[([\d,]*)\]", shapes)
        found.append((kind, [tuple(map(int, size.split(","))) if size else () for size in sizes]))
    return found


def main():
    jax.config.update("jax_num_cpu_devices", 8)
    print("| model | data x fsdp x tensor x context | loss | worst difference | collectives | kept kB | temporary kB |")
    print("|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        text = write_text(pathlib.Path(folder) / "text.txt")
        for model in MODELS:
            alone = None
            for name, mesh in {"1x1x1x1": {}, **MESHES}.items():
                run = run_of(text, model, mesh)
                losses = np.array(trained(run)[0])
                alone = losses if alone is None else alone
                program = compiled(run)
                kinds = collections.Counter(kind for kind, _ in collectives(program))
                memory = program.memory_analysis()
                shown = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items())) or "none"
                sizes = (memory.argument_size_in_bytes / 1000, memory.temp_size_in_bytes / 1000)
                worst = np.max(np.abs(losses / alone - 1))
                print(
                    f"| {model} | {name} | {losses[-1]:.6f} | {worst:.1e} | {shown} | {sizes[0]:.0f} | {sizes[1]:.0f} |"
                )


if __name__ == "__main__":
    main()
