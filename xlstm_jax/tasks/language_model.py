"""Predict the next token of a text."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from xlstm_jax.config import INT32, Bounds, NonNegativeFloat, NonNegativeInt, PositiveInt, Section
from xlstm_jax.data.batches import ALL_ROWS
from xlstm_jax.data.text.bpe import LEAST_VOCAB_SIZE
from xlstm_jax.data.text.dataset import Sampling, TextData
from xlstm_jax.data.text.layout import Batch
from xlstm_jax.data.text.sources import Source, parse_mixture
from xlstm_jax.data.text.tokenizers import VOCAB_SIZE, Tokenizer, tokenizer_from_json
from xlstm_jax.errors import UsageError
from xlstm_jax.generate import sample_text
from xlstm_jax.models import LanguageModel, ModelConfig, build_model
from xlstm_jax.tasks.base import TASKS, Outcome, Ratio, Task, unknown_split


@dataclasses.dataclass(frozen=True)
class DataConfig(Section, name="data"):
    source: str = "stdlib"  # a name in SOURCES, such as stdlib or tinyshakespeare
    # A UTF-8 text file, a .jsonl file ("text" in each line) or a folder of .txt files; instead of source.
    path: str = ""
    mixture: str = ""  # "tinyshakespeare:0.7,my/folder:0.3": sources or paths with weights; instead of path
    document_separator: str = ""  # between the documents of one text; "": it is one document
    tokenizer: str = "byte"  # byte, char or bpe
    # Tokens of a bpe that is trained on the text.
    vocab_size: Annotated[int, Bounds(least=LEAST_VOCAB_SIZE, under=INT32)] = VOCAB_SIZE
    tokenizer_path: str = ""  # a tokenizer.json (Hugging Face's, byte-level BPE) for bpe; "": one is trained
    # Fraction of the text for training; the rest, at its end, is for validation.
    train_fraction: Annotated[float, Bounds(over=0, under=1)] = 0.9
    # Random windows, each from an empty state; one stream, whose state is passed on; or packed documents.
    sampling: Sampling = "windows"
    sequence_length: PositiveInt = 100  # tokens in a row of a batch
    batch_size: PositiveInt = 64  # rows in a batch, over all devices


@dataclasses.dataclass(frozen=True)
class ExampleConfig(Section, name="sample"):
    prompt: str = ""  # text to continue; "": the start of the validation text
    length: NonNegativeInt = 200  # tokens of the text shown at the end of training; 0: none
    temperature: NonNegativeFloat = 0.8  # 0 is greedy


@TASKS.register("language_model")
class LanguageModeling(Task):
    """Next-token prediction on texts; loss in nats per token, and in bits per byte.

    With `sampling` "windows" each row is a random window and starts from an empty carry; with "stream" each row reads
    on where it stopped, and the carry passes from batch to batch (backpropagation through time cut at batch ends); with
    "packed" a row holds several documents, each of which starts from an empty carry.

    Of a mixture, each training row is drawn from a source with that source's weight; each has its own validation part,
    and metrics are over all of them (each token counts the same) and of each, as `SOURCE/loss`.
    """

    Config, Example = DataConfig, ExampleConfig

    def __init__(self, config: DataConfig, codec: Tokenizer | None = None):
        if config.mixture and config.sampling == "stream":
            raise UsageError("data.sampling 'stream' is for one source; with data.mixture use 'windows' or 'packed'")
        if config.tokenizer_path and config.tokenizer != "bpe":
            raise UsageError(f"data.tokenizer_path is for data.tokenizer 'bpe', and that is {config.tokenizer!r}")
        self.config = config
        one = (Source(config.source, config.path, config.document_separator),)
        sources = parse_mixture(config.mixture, config.document_separator) if config.mixture else one
        self.texts = TextData(
            sources,
            train_fraction=config.train_fraction,
            sampling=config.sampling,
            sequence_length=config.sequence_length,
            batch_size=config.batch_size,
        )
        self.codec = codec or self.texts.new_tokenizer(config.tokenizer, config.vocab_size, config.tokenizer_path)
        self.texts.tokenizer = self.codec
        if codec is None:  # a text too short shows here, before anything is built
            self.train_batches(seed=0)
            self.batches("validation")

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> Tokenizer:
        return tokenizer_from_json(data)

    @property
    def splits(self) -> Mapping[str, Any]:
        return self.texts.splits

    def fingerprint(self) -> str:
        return self.texts.fingerprint()

    def summary(self) -> str:
        tokens = ", ".join(f"{name} {len(self.splits[name]):,}" for name in ("train", "validation"))
        return f"vocabulary {self.codec.vocab_size}; tokens: {tokens}"

    @property
    def unit(self) -> str:
        return f"nats per {'token' if self.codec.kind == 'bpe' else self.codec.kind}"

    @property
    def loss_at_chance(self) -> float:
        return math.log(self.codec.vocab_size)

    @property
    def passes_carry(self) -> bool:
        """Whether training hands the carry from batch to batch."""
        return self.config.sampling == "stream"

    def train_batches(self, seed: int, *, rows: slice = ALL_ROWS) -> grain.IterDataset:
        return self.texts.train_batches(seed, rows)

    def batches(self, split: str, *, carry: bool = False, rows: slice = ALL_ROWS) -> grain.IterDataset:
        if split not in self.splits:
            raise unknown_split(split, self.splits)
        return self.texts.batches(split, carry=carry, rows=rows)

    def build(self, config: ModelConfig, *, rngs: nnx.Rngs) -> LanguageModel:
        return build_model(dataclasses.replace(config, vocab_size=self.codec.vocab_size), rngs=rngs)

    def init_carry(self, model: LanguageModel, batch_size: int) -> Any:
        return model.init_carry(batch_size)

    def forward(self, model: LanguageModel, batch: Batch, carry: Any, key: jax.Array | None) -> Outcome:
        # Packed documents always start where the batch says; other rows start empty anyway if there is no carry.
        packed = self.config.sampling == "packed"
        reset_BT = batch.reset_BT if packed or carry is not None else None
        logits_BTA, carry = model.unroll(batch.tokens_BT, carry, reset=reset_BT, key=key)
        nats_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTA, batch.targets_BT)
        right_BT = (jnp.argmax(logits_BTA, axis=-1) == batch.targets_BT) & batch.mask_BT
        bytes_A = jnp.asarray(np.asarray(self.codec.bytes_per_token, np.float32))
        nats_BT = jnp.where(batch.mask_BT, nats_BT, 0)
        bytes_BT = jnp.where(batch.mask_BT, bytes_A[batch.targets_BT], 0)

        def ratios(row_B: jax.Array | None) -> dict[str, Ratio]:
            """Of all rows, or of those where `row_B` is true."""

            def total(values_BT: jax.Array) -> jax.Array:
                if row_B is None:
                    return jnp.sum(values_BT, dtype=jnp.promote_types(values_BT.dtype, jnp.float32))
                return jnp.sum(jnp.where(row_B, jnp.sum(values_BT, axis=1, dtype=jnp.float32), 0))

            nats, tokens = total(nats_BT), total(batch.mask_BT)
            return {
                "loss": Ratio(nats, tokens),
                "bits_per_byte": Ratio(nats / math.log(2), total(bytes_BT)),
                "accuracy": Ratio(total(right_BT), tokens),
            }

        every = ratios(None)
        for number, name in enumerate(self._source_names):
            every |= {f"{name}/{key}": ratio for key, ratio in ratios(batch.source_B == number).items()}
        return Outcome(every.pop("loss"), every, carry)

    @property
    def _source_names(self) -> list[str]:
        """Of a mixture; metrics are over all sources and of each."""
        return [source.name for source in self.texts.sources] if len(self.texts.sources) > 1 else []

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        derived = {}
        for prefix in ("", *(f"{name}/" for name in self._source_names)):
            loss = ratios[f"{prefix}loss"]
            derived |= {f"{prefix}perplexity": perplexity(loss.value), f"{prefix}tokens": float(loss.count)}
        return derived

    def check_example(self, options: ExampleConfig) -> None:
        if options.length:
            self.codec.encode(self.prompt(options))  # characters outside the vocabulary show now, not at the end

    def prompt(self, options: ExampleConfig) -> str:
        """The text that the example continues."""
        if options.prompt:
            return options.prompt
        tokens = self.splits["validation"][:PROMPT_TOKENS]
        # Special tokens have no bytes, and no text to continue.
        return self.codec.decode(tokens[self.codec.bytes_per_token[tokens] > 0])

    def example(self, model: LanguageModel, options: ExampleConfig, seed: int) -> str | None:
        if not options.length:
            return None
        sizes = {"length": options.length, "temperature": options.temperature}
        return sample_text(model.unscanned(), self.codec, self.prompt(options), seed=seed, **sizes)

    def read(self, text: str) -> Any:
        raise UsageError("a language model continues texts; use experiments.generate --workdir=DIR --prompt=TEXT")

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        """For people: what was measured and how, and the result; of a mixture, a line more for each source."""
        config = self.config
        how = f"windows of {config.sequence_length}, each from an empty state"
        if config.sampling == "packed":
            how = f"documents, each from an empty state, in rows of {config.sequence_length}"
        if carry:
            how = f"state carried over windows of {config.sequence_length} in {config.batch_size} streams"
        sources = [name.removesuffix("/loss") for name in result if name.endswith("/loss")]
        return (
            f"{split} loss {result['loss']:.4f} {self.unit}, {result['bits_per_byte']:.4f} bits per byte, "
            f"accuracy {result['accuracy']:.3f} ({result['tokens']:,.0f} targets, {how})"
        ) + "".join(
            f"\n  {name}: loss {result[f'{name}/loss']:.4f}, perplexity {result[f'{name}/perplexity']:.2f}, "
            f"{result[f'{name}/bits_per_byte']:.4f} bits per byte ({result[f'{name}/tokens']:,.0f} targets)"
            for name in sources
        )


PROMPT_TOKENS = 20  # of the validation text, if no prompt is given


def perplexity(nats: float) -> float:
    """e^nats, up to near the largest float."""
    return math.exp(min(nats, 700.0))
