"""Predictions of tasks whose rows are prompts of symbols or numbers: what the model says after the last step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from xlstm_jax.data.codecs import Numbers, Symbols, padded, power_of_two, softmax
from xlstm_jax.models import SequenceModel
from xlstm_jax.tasks.base import Task


class Prompts(NamedTuple):
    """A batch for `predict`."""

    inputs_BT: np.ndarray  # tokens or real numbers
    lengths_B: np.ndarray
    room_BS: np.ndarray  # zeros: a column for each token that an answer can have


class AnsweringTask(Task):
    """Reads prompts by its codec, `Symbols` or `Numbers`, and answers with one token or several, one after another.

    A subclass may replace `answer_length`, `long_answers`, `name_answer` and `render`.
    """

    codec: Symbols | Numbers

    def answer_length(self, prompt: np.ndarray) -> int:
        """Number of tokens in the answer to a prompt [T]."""
        del prompt
        return 1

    @property
    def long_answers(self) -> bool:
        """Whether an answer can have more than one token, up to the number of steps of its prompt."""
        return False

    def read(self, text: str) -> np.ndarray:
        return self.codec.encode(text)

    def blank(self, length: int) -> np.ndarray:
        if isinstance(self.codec, Numbers):
            return np.zeros((length, self.codec.width), np.float32)
        return np.zeros(length, np.int32)

    def collate(self, examples: list[np.ndarray]) -> Prompts:
        time = power_of_two(max(map(len, examples)))
        inputs_BT, lengths_B = padded(examples, multiple_of=time)
        room = time if self.long_answers else 1
        return Prompts(inputs_BT, lengths_B, np.zeros((len(examples), room), np.int32))

    def predict(self, model: SequenceModel, batch: Prompts) -> jax.Array:
        """Outputs [B, S, A] after the prompt, and after each token of the most probable answer that follows."""
        x_BTD, carry = model.hidden(batch.inputs_BT, lengths=batch.lengths_B)
        last_B11 = (batch.lengths_B - 1)[:, None, None]
        first_BA = model.outputs(jnp.take_along_axis(x_BTD, last_B11, axis=1)[:, 0])
        if batch.room_BS.shape[1] == 1:
            return first_BA[:, None]

        def step(before, _):
            carry, outputs_BA = before
            outputs_B1A, carry = model.unroll(jnp.argmax(outputs_BA, axis=-1)[:, None], carry)
            return (carry, outputs_B1A[:, 0]), outputs_BA

        _, outputs_SBA = jax.lax.scan(step, (carry, first_BA), None, length=batch.room_BS.shape[1])
        return jnp.swapaxes(outputs_SBA, 0, 1)

    def render(self, predicted: np.ndarray, example: np.ndarray) -> dict[str, Any]:
        share_SA = softmax(predicted[: self.answer_length(example)])
        answer = self.name_answer(share_SA.argmax(axis=-1))
        return {"answer": answer, "probability": float(np.prod(share_SA.max(axis=-1)))}

    def name_answer(self, tokens_S: np.ndarray) -> str:
        """An answer in words."""
        return self.codec.decode(tokens_S) if isinstance(self.codec, Symbols) else " ".join(map(str, tokens_S))
