"""A training step of deep stacks: compile time, time and temporary memory, scanned or not, by rematerialisation."""

import itertools
import time

from experiments.benching.base import SUITES, on_random_text
from experiments.benching.timing import Case, Facts


@SUITES.register("depth")
def depth(tiny: bool) -> list[Case]:
    """12 and 24 mLSTM blocks of width 128, on 8 rows of 128 tokens."""
    import jax

    # The compile time measured here is that of a program that was not compiled before.
    jax.config.update("jax_enable_compilation_cache", False)
    variants = itertools.product((2, 4) if tiny else (12, 24), (False, True), ("none", "dots", "full"))
    return [_case(layers, scanned, remat, tiny) for layers, scanned, remat in variants]


def _case(layers: int, scanned: bool, remat: str, tiny: bool) -> Case:
    from configs import char_lm

    config = char_lm.get_config("mlstm")
    config.model.pattern, config.model.features = layers * "m", 16 if tiny else 128
    config.data.batch_size, config.data.sequence_length = (2, 8) if tiny else (8, 128)
    config.model.scan_layers, config.model.remat = scanned, remat
    step = _Step(config)
    name = ("scanned" if scanned else "unrolled") + ("" if remat == "none" else f", remat {remat}")
    tokens = config.data.batch_size * config.data.sequence_length
    return Case(f"{layers} layers", name, step, tokens, facts=step.facts)


class _Step:
    """Runs the next step when called; `facts` compiles the step and must be called first."""

    def __init__(self, config):
        self._config = config

    def facts(self) -> Facts:
        from xlstm_jax.train.step import compiled_step, init_state

        parts, self._batch = on_random_text(self._config)
        self._state = init_state(parts)
        start = time.process_time()  # CPU time, which other load on the machine affects less
        self._step = compiled_step(parts).lower(self._state, self._batch).compile()
        seconds = time.process_time() - start
        return Facts(self._step.memory_analysis().temp_size_in_bytes / 1e6, compile_seconds=seconds)

    def __call__(self) -> None:
        import jax

        self._state, metrics = self._step(self._state, self._batch)
        jax.block_until_ready((self._state, metrics))
