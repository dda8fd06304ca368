"""Text generation: sampling, a state that can be saved, and exported programs that run without this package."""

from xlstm_jax.generate.beam import Attending, Beams, beam_search
from xlstm_jax.generate.decoder import Decoder
from xlstm_jax.generate.decoding import Decoded, decode, generate, piece_sizes, prefill
from xlstm_jax.generate.options import check_options
from xlstm_jax.generate.sampling import pick, restrict
from xlstm_jax.generate.state import GenerationState, init_state
from xlstm_jax.generate.state_file import load_state, save_state
from xlstm_jax.generate.text import TextStream, encode_prompts, end_tokens, sample_text

__all__ = [
    "Attending",
    "Beams",
    "Decoded",
    "Decoder",
    "GenerationState",
    "TextStream",
    "beam_search",
    "check_options",
    "decode",
    "encode_prompts",
    "end_tokens",
    "generate",
    "init_state",
    "load_state",
    "pick",
    "piece_sizes",
    "prefill",
    "restrict",
    "sample_text",
    "save_state",
]
