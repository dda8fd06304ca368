"""Text from a language model: sampling, a state that may be saved, and programs that run without this package."""

from xlstm_jax.generate.decoding import Decoded, GenerationState, decode, generate, init_state, prefill
from xlstm_jax.generate.sampling import pick, restrict
from xlstm_jax.generate.state_file import load_state, save_state
from xlstm_jax.generate.text import TextStream, encode_prompts, sample_text

__all__ = [
    "Decoded",
    "GenerationState",
    "TextStream",
    "decode",
    "encode_prompts",
    "generate",
    "init_state",
    "load_state",
    "pick",
    "prefill",
    "restrict",
    "sample_text",
    "save_state",
]
