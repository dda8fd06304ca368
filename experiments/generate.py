"""Sample from a trained run: python -m experiments.generate --workdir=/tmp/lstm --prompt="To be" --length=300"""

from absl import flags

from experiments import cli

_WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
_PROMPT = flags.DEFINE_string("prompt", "\n", "text to go on from")
_LENGTH = flags.DEFINE_integer("length", 300, "tokens to add")
_TEMPERATURE = flags.DEFINE_float("temperature", 0.8, "0 is greedy")
_TOP_K = flags.DEFINE_integer("top_k", 0, "draw from the k most likely tokens; 0: from all")
_TOP_P = flags.DEFINE_float("top_p", 1.0, "draw from the fewest tokens whose probabilities sum to p; 1: from all")
_SEED = flags.DEFINE_integer("seed", 0, "of the draws: the same seed gives the same text")
_CHECKPOINT = flags.DEFINE_string("checkpoint", "best", "best (lowest validation loss), latest, or a step")


def main() -> None:
    cli.start_jax()
    from xlstm_jax.generate import sample_text
    from xlstm_jax.train import saved

    run, params, _ = saved.load(_WORKDIR.value, _CHECKPOINT.value)
    text = sample_text(
        run.model(params),
        run.task.tokenizer,
        _PROMPT.value,
        length=_LENGTH.value,
        temperature=_TEMPERATURE.value,
        top_k=_TOP_K.value,
        top_p=_TOP_P.value,
        seed=_SEED.value,
    )
    print(text)


if __name__ == "__main__":
    flags.mark_flags_as_required(["workdir"])
    cli.run(main)
