"""XLA's flags for tests: nearly all of the suite's time is compilation, so programs are optimized little.

jax 0.10 also takes XLA's older and faster code generator, by flags that later versions abort on.
"""

import importlib.metadata

_OLDER = importlib.metadata.version("jaxlib").startswith("0.10.")
FAST = "--xla_backend_optimization_level=0" + (
    " --xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1" if _OLDER else ""
)
# Of one program, as `compiler_options` of `jax.jit`: as users' programs are made, where the last digits count.
USERS = {"xla_backend_optimization_level": 3} | ({"xla_cpu_use_fusion_emitters": True} if _OLDER else {})
