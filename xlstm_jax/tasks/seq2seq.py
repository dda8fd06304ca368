"""The base of tasks whose answer is a text, which a decoder writes from what an encoder has read."""

import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from xlstm_jax.data.targets import TargetCodec
from xlstm_jax.generate import beam_search
from xlstm_jax.generate.state import state_of
from xlstm_jax.models.seq2seq import DecoderCarry, DecoderConfig, Seq2Seq
from xlstm_jax.tasks.base import Outcome, Ratio
from xlstm_jax.tasks.examples import ExamplesTask


class Seq2SeqTask(ExamplesTask):
    """The tokens of a target given a source; cross-entropy. Predictions are made by beam search.

    A batch has `target_BT`, with the token after each target, and `lengths_B`, of the targets. A subclass defines
    `_encoded` and `_longest`, what an `ExamplesTask` needs, and `judge` for metrics of the predicted texts.
    """

    Model: type[DecoderConfig]
    unit = "nats per token"
    codec: TargetCodec

    def _encoded(self, model: Seq2Seq, batch: Any, key: jax.Array | None = None) -> DecoderCarry:
        """The decoder's carry before the first token."""
        raise NotImplementedError

    def _longest(self, batch: Any) -> int:
        """The most tokens of a predicted text, where `model.most_tokens` is 0."""
        raise NotImplementedError

    @property
    def loss_at_chance(self) -> float:
        return math.log(self.codec.vocab_size)

    def forward(self, model: Seq2Seq, batch: Any, carry: Any, key: jax.Array | None) -> Outcome:
        keys = (None, None) if key is None else jax.random.split(key)
        start = self._encoded(model, batch, keys[0])
        logits_BTA, _ = model.unroll(self._given(batch.target_BT), start, lengths=batch.lengths_B, key=keys[1])
        there_BT = jnp.arange(batch.target_BT.shape[1])[None] < batch.lengths_B[:, None]
        nats_BT = optax.softmax_cross_entropy_with_integer_labels(logits_BTA, batch.target_BT)
        right_BT = (jnp.argmax(logits_BTA, axis=-1) == batch.target_BT) & there_BT
        if key is not None and (share := model.config.label_smoothing):
            log_p_BTA = jax.nn.log_softmax(logits_BTA, axis=-1)
            nats_BT = (1 - share) * nats_BT - share * jnp.mean(log_p_BTA, axis=-1)
        count = jnp.sum(there_BT, dtype=jnp.float32)
        ratios = {"token_accuracy": Ratio(jnp.sum(right_BT, dtype=jnp.float32), count)}
        return Outcome(Ratio(jnp.sum(jnp.where(there_BT, nats_BT, 0)), count), ratios, carry)

    def _given(self, target_BT: jax.Array) -> jax.Array:
        """The token before each of the targets' tokens."""
        begin_B1 = jnp.full_like(target_BT[:, :1], self.codec.begin)
        return jnp.concatenate([begin_B1, target_BT[:, :-1]], axis=1)

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        loss = float(ratios["loss"].value)
        return {"perplexity": math.exp(min(loss, 700)), "tokens": float(ratios["loss"].count)}

    def predict(self, model: Seq2Seq, batch: Any) -> dict[str, jax.Array]:
        """The best text, [B, T], and the attention to the source while it is written, [B, T, S]."""
        config, start = model.config, self._encoded(model, batch)
        begin_B = jnp.full((batch.lengths_B.shape[0],), self.codec.begin, jnp.int32)
        logits_BA, carry = model.step(begin_B, start)
        found = beam_search(
            model,
            state_of(carry, logits_BA),
            beams=config.beams,
            length=config.most_tokens or self._longest(batch),
            stop=(self.codec.end,),
            length_penalty=config.length_penalty,
            coverage_penalty=config.coverage_penalty,
        )
        tokens_BT, lengths_B = found.tokens_BKT[:, 0], found.lengths_BK[:, 0]
        _, attention_BTS = model.unroll(self._given(tokens_BT), start, lengths=lengths_B)
        return {"tokens": tokens_BT, "attention": attention_BTS}

    def _attended(self, predicted: Any) -> tuple[np.ndarray, np.ndarray]:
        """Of one row: the tokens [T] before the end, and the attention [T, S] while they are written."""
        tokens_T = self.codec.until_end(predicted["tokens"])
        return tokens_T, np.asarray(predicted["attention"], float)[: len(tokens_T)]
