"""XLA's flags for tests: nearly all of the suite's time is compilation, so programs are barely optimized.

With jax 0.10 they also select XLA's older and faster code generator; later versions abort on these flags.
"""

import importlib.metadata

_OLDER = importlib.metadata.version("jaxlib").startswith("0.10.")
FAST = "--xla_backend_optimization_level=0" + (
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1" if _OLDER else ""
)
# `compiler_options` of `jax.jit` for one program: optimized like users' programs, for tests in which last digits count.
USERS = {"xla_backend_optimization_level": 3} | ({"xla_cpu_use_fusion_emitters": True} if _OLDER else {})
