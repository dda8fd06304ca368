"""Compiles jitted functions for an NVIDIA H200 with no GPU, and reads each kernel's report from CUDA's assembler.

    python -m tests.gpu.compiled          prints a table of every kernel at the sizes of `CASES`; of named ones, as JSON

XLA compiles ahead of time for a described device. It needs `jax-cuda13-plugin` and `jax-cuda13-pjrt` at jax's own
version, in the environment or in a folder named by XLSTM_JAX_CUDA_PLUGIN, and from a CUDA toolkit ptxas and libdevice.
It says nothing of values or speed.
"""

import contextlib
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

H200 = """
gpu_device_info {
  threads_per_block_limit: 1024  threads_per_warp: 32
  shared_memory_per_block: 49152  shared_memory_per_core: 233472
  threads_per_core_limit: 2048  core_count: 132  fpus_per_core: 128
  block_dim_limit_x: 2147483647  block_dim_limit_y: 65535  block_dim_limit_z: 65535
  memory_bandwidth: 4800000000000  l2_cache_size: 62914560  clock_rate_ghz: 1.98
  device_memory_size: 150754820096  shared_memory_per_block_optin: 232448
  cuda_compute_capability { major: 9 }
  registers_per_core_limit: 65536  registers_per_block_limit: 65536
}
platform_name: "CUDA"
dnn_version_info { major: 9 minor: 10 }
runtime_version { major: 13 minor: 0 patch: 0 }
device_description_str: "NVIDIA H200"
"""
# What is looked for in a kernel's text: matrix products of a whole warp group, of one warp, and asynchronous copies.
INSTRUCTIONS = {"wgmma": r"wgmma\.mma_async", "mma": r"mma\.sync", "cp.async": r"cp\.async\.c[ag]"}
COLLECTIVES = r"\b(all-gather|all-reduce|all-to-all|collective-permute|reduce-scatter)(?:-start)?\("
OURS = ("mlstm_", "slstm_")


def missing() -> str:
    """Why nothing can be compiled here; empty where it can."""
    if _toolkit() is None:
        return "no CUDA toolkit: ptxas and libdevice are needed (CUDA_HOME, or nvcc on PATH)"
    probe = "import importlib.metadata as m, jax; print(jax.__version__, m.version('jax-cuda13-pjrt'))"
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, env=environment())
    versions = done.stdout.split()
    if done.returncode or len(set(versions)) > 1:
        return f"jax-cuda13-plugin and jax-cuda13-pjrt are not installed at jax's version ({' '.join(versions)})"
    return ""


def environment() -> dict[str, str]:
    """The environment variables of a process that compiles: with the folder of jax's CUDA plugin.

    And without the flags of tests, by which XLA optimizes little on a GPU too: registers would be spilled that are not.
    """
    paths = [os.environ.get(name, "") for name in ("XLSTM_JAX_CUDA_PLUGIN", "PYTHONPATH")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in paths if path), "XLA_FLAGS": ""}


def _toolkit() -> pathlib.Path | None:
    """The CUDA folder that holds bin/ptxas and nvvm/libdevice."""
    home = os.environ.get("CUDA_HOME")
    if home is None and (nvcc := shutil.which("nvcc")):
        dry = subprocess.run([nvcc, "--dryrun", "-x", "cu", os.devnull], capture_output=True, text=True).stderr
        found = re.search(r"#\$ TOP=(\S+)", dry)
        home = os.path.realpath(found[1]) if found else pathlib.Path(nvcc).resolve().parents[1]
    home = pathlib.Path(home) if home else None
    return home if home and (home / "bin" / "ptxas").exists() else None


def prepare(scratch: pathlib.Path) -> None:
    """Puts our ptxas before CUDA's; before jax starts a backend."""
    home = _toolkit()
    for part in ("bin", "nvvm/libdevice"):
        (scratch / part).mkdir(parents=True)
    shutil.copy(pathlib.Path(__file__).parent / "ptxas", scratch / "bin" / "ptxas")
    (scratch / "nvvm/libdevice/libdevice.10.bc").symlink_to(home / "nvvm/libdevice/libdevice.10.bc")
    flags = f"--xla_gpu_cuda_data_dir={scratch} --xla_gpu_enable_libnvptxcompiler=false --xla_gpu_autotune_level=0"
    os.environ |= {
        "PTXAS": str(home / "bin" / "ptxas"),
        "PATH": f"{scratch / 'bin'}{os.pathsep}{os.environ['PATH']}",
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip(),
    }


def described():
    """A context in which kernels are lowered for an H200: from jax 0.11 on, they ask which device they are for."""
    import jax
    from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh

    if jax.version.__version_info__ < (0, 11):
        return contextlib.nullcontext()
    return use_abstract_mesh(AbstractMesh((), (), abstract_device=AbstractDevice("NVIDIA H200", 132, "cuda")))


def compile_for(step, shapes, devices: int = 1):
    """`step` compiled for H200s: over a mesh with the one axis "batch", arguments whose first axis is a batch by it."""
    import jax
    from jax.experimental import topologies
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    topology = topologies.get_topology_desc(platform="cuda", target_config=H200, topology=f"1x1x{devices}")
    mesh = Mesh(topology.devices, ("batch",))

    def placed(a):
        spec = PartitionSpec() if a.shape[0] % devices else PartitionSpec("batch")
        return jax.ShapeDtypeStruct(a.shape, a.dtype, sharding=NamedSharding(mesh, spec))

    shapes = jax.tree.map(placed, shapes)
    with described():
        lowered = jax.jit(step).trace(*shapes).lower(lowering_platforms=("cuda",))
        return lowered.compile(compiler_options={"xla_dump_to": os.environ["PTXAS_REPORTS"]})


def kernels(step, shapes, devices: int = 1) -> tuple[list[dict], list[str]]:
    """A row for each of our kernels: registers, spills, shared memory, instructions; and the program's collectives."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PTXAS_REPORTS"] = folder
        try:
            program = compile_for(step, shapes, devices).as_text()
        finally:
            del os.environ["PTXAS_REPORTS"]
        folder = pathlib.Path(folder)
        shared = {}
        for dump in folder.glob("*thunk_sequence.txt"):
            for found in re.finditer(r"(\S+) grid: \[.*?shared_memory: (\d+)", dump.read_text()):
                shared[found[1]] = int(found[2])
        rows = [row for log in sorted(folder.glob("*.log")) for row in _report(log, shared)]
    return [row for row in rows if row["kernel"].startswith(OURS)], sorted({*re.findall(COLLECTIVES, program)})


def _report(log: pathlib.Path, shared: dict[str, int]):
    source = log.with_suffix(".ptx")
    program = source.read_text(errors="replace") if source.exists() else ""  # some calls assemble nothing
    for found in re.finditer(
        r"Compiling entry function '(\S+)'.*?(?=ptxas info\s+: Compiling|\Z)", log.read_text(), re.S
    ):
        text, name = found[0], found[1]
        body = program.split(f".entry {name}(", 1)[-1].split(".entry ", 1)[0]

        def number(pattern, text=text):
            return int((re.search(pattern, text) or (0, 0))[1])

        yield {
            "kernel": name,
            "registers": number(r"Used (\d+) registers"),
            "spills": number(r"(\d+) bytes spill stores") + number(r"(\d+) bytes spill loads"),
            # What is asked for at the launch, where XLA says so; else what the program itself holds.
            "shared": shared.get(name) or number(r"(\d+) bytes smem"),
            **{kind: len(re.findall(pattern, body)) for kind, pattern in INSTRUCTIONS.items()},
            "loaded a turn": loaded(body),
            "multiplied a turn": multiplied(body),
        }


def loaded(body: str) -> int:
    """Bytes that a program reads from the GPU's memory in a turn of its loops, not asynchronously; of loops inside
    others, in one turn of each."""
    loads = re.findall(r"\bld\.global\S*?(?:\.v(\d))?\.[bfsu](\d+)", in_loops(body))
    return threads(body) * sum(int(count or 1) * int(bits) // 8 for count, bits in loads)


def multiplied(body: str) -> int:
    """Products of numbers that a program's warp groups issue in a turn of its loops, as asynchronous matrix products.

    CUDA's assembler makes one instruction of each. Of loops inside others, in one turn of each.
    """
    sizes = re.findall(r"wgmma\.mma_async\S*?\.m(\d+)n(\d+)k(\d+)", in_loops(body))
    return threads(body) // 128 * sum(int(m) * int(n) * int(k) for m, n, k in sizes)


def threads(body: str) -> int:
    """Threads of a program."""
    return int(re.search(r"\.reqntid (\d+)", body)[1])


def in_loops(body: str) -> str:
    """The lines of a program that are in a loop."""
    lines = body.splitlines()
    labels = {found[1]: at for at, line in enumerate(lines) if (found := re.match(r"(\$\w+):", line))}
    inside = set()
    for at, line in enumerate(lines):
        if found := re.search(r"\bbra(?:\.uni)?\s+(\$\w+)\s*;", line):
            inside.update(range(labels[found[1]], at))  # nothing, of a branch that goes on to what follows
    return "\n".join(lines[at] for at in sorted(inside))


def main() -> None:
    from tests.gpu.cases import CASES

    if why := missing():
        sys.exit(why)
    table = {}
    with tempfile.TemporaryDirectory() as scratch:
        prepare(pathlib.Path(scratch) / "cuda")
        for name in sys.argv[1:] or CASES:
            make, *case = CASES[name]
            table[name] = kernels(*make(*case), devices=8 if name.startswith("8 devices") else 1)
    if sys.argv[1:]:
        print(json.dumps(table))
        return
    titles = ["case", "kernel", "registers", "spilled bytes", "shared bytes", *INSTRUCTIONS]
    titles += ["bytes loaded a turn", "products a turn"]
    print(f"| {' | '.join(titles)} |", "|---" * len(titles) + "|", sep="\n")
    for name, (rows, _) in table.items():
        for row in sorted(rows, key=lambda row: row["kernel"]):
            print(f"| {name} | {' | '.join(map(str, row.values()))} |")


if __name__ == "__main__":
    main()
