"""What tasks have in common whose models read the states of a trained biLM: ELMo."""

from collections.abc import Callable

from flax import nnx

from xlstm_jax.config import from_section
from xlstm_jax.data.words import FEATURES, LentReader, Lexicon
from xlstm_jax.errors import UsageError
from xlstm_jax.models.bilm import BiLMConfig, Reader
from xlstm_jax.tasks.base import Loan

KEY, TASK = "data.bilm", "bilm"


def loan(workdir: str) -> Loan | None:
    """The biLM in a workdir; None for ""."""
    return Loan(KEY, workdir, TASK, part=("reader",), place=("embedding", "bilm")) if workdir else None


def sizes(lexicon: Lexicon) -> tuple[int, int, int]:
    """Numbers of words, letters, and of what spelling has."""
    return len(lexicon.words), len(lexicon.letters), FEATURES


def maker(lent: LentReader | None) -> Callable[[nnx.Rngs], Reader] | None:
    """Makes the biLM that was lent, with parameters that are still to be put in."""
    if lent is None:
        return None
    config = from_section(BiLMConfig, lent.model, "model")
    return lambda rngs: Reader(config, *sizes(lent.lexicon), rngs=rngs)


def check_none(lent: LentReader | None, kind: str) -> None:
    """Raises `UsageError` if a biLM was lent to a baseline, which does not read it."""
    if lent is not None:
        raise UsageError(f"model.kind {kind!r} reads no biLM; leave {KEY} empty")
