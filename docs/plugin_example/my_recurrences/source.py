"""A text to train language models on: `--config.data.source=primes`."""

from xlstm_jax.data.text.sources import SOURCES


@SOURCES.register("primes")
def primes() -> str:
    """The primes below 20,000, one per line."""
    known: list[int] = []
    for number in range(2, 20_000):
        if all(number % prime for prime in known if prime * prime <= number):
            known.append(number)
    return "\n".join(map(str, known)) + "\n"
