"""Describe pictures: digits of MNIST on a canvas with sentences of a small grammar, or a folder of the user's own."""

import dataclasses
import functools
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.config import Bounds, PositiveInt, Rate, Section
from xlstm_jax.data.codecs import padded
from xlstm_jax.data.parts import with_part
from xlstm_jax.data.pictures import made, own
from xlstm_jax.data.pictures.batches import CHANNELS, CaptionedPictures, batch_of
from xlstm_jax.data.pictures.codec import CaptionCodec, plain
from xlstm_jax.errors import UsageError
from xlstm_jax.models.captioner import CaptionerConfig, MajorityCaption, PictureEncoder
from xlstm_jax.models.seq2seq import DecoderCarry, Seq2Seq
from xlstm_jax.tasks import bleu
from xlstm_jax.tasks.base import TASKS, Ratio
from xlstm_jax.tasks.examples import Examples
from xlstm_jax.tasks.picture_figure import draw
from xlstm_jax.tasks.seq2seq import Seq2SeqTask

LEAST_SIDE, MOST_SIDE = 16, 1024


@dataclasses.dataclass(frozen=True)
class CaptionConfig(Section, name="data"):
    path: str = ""  # a folder of pictures with captions.csv or captions.jsonl; "": pictures made of MNIST's digits
    size: Annotated[int, Bounds(least=LEAST_SIDE, most=MOST_SIDE)] = 56  # side of the pictures in pixels
    train_pictures: PositiveInt = 30_000  # number of made pictures for training
    tested_pictures: PositiveInt = 1_000  # likewise for each of validation, test and new_combinations
    validation: Rate = 0.1  # share of one's own pictures for validation, where the folder has no part for it
    test: Rate = 0.1  # likewise for testing
    least_count: PositiveInt = 1  # words that occur less often in the training captions are unknown
    most_tokens: PositiveInt = 40  # of a caption for training, whose longer ones are left out, and of an answer
    batch_size: PositiveInt = 32  # captions in a batch


class Album(NamedTuple):
    """Pictures with their captions."""

    pictures: np.ndarray  # uint8 [N, H, W, 3]
    captions: list[list[str]]  # one or several of each


@TASKS.register("caption")
class Caption(Seq2SeqTask):
    """A sentence on a picture; cross-entropy. The checkpoint with the best validation BLEU is kept.

    Metrics: `exact`, the share of pictures whose caption is one of theirs word for word; `bleu` by sacrebleu against
    all captions of a picture; `perplexity` per token and `token_accuracy` given the tokens before. Vinyals et al. 2015
    (arXiv 1411.4555), Xu et al. 2015 (arXiv 1502.03044).
    """

    Config, Model = CaptionConfig, CaptionerConfig
    best = ("bleu", "higher")
    detail = ("words", "attention")
    config: CaptionConfig
    codec: CaptionCodec

    def __init__(self, config: CaptionConfig, codec: CaptionCodec | None = None):
        self.config, self.codec = config, codec
        if codec is None:
            captions = [caption for several in self._albums["train"].captions for caption in several]
            self.codec = CaptionCodec.of(captions, least=config.least_count)
            self.train_batches(seed=0)  # too few pictures show before anything is built

    @functools.cached_property
    def _albums(self) -> dict[str, Album]:
        """Of each part."""
        return _own(self.config) if self.config.path else _made(self.config)

    @functools.cached_property
    def _pictures(self) -> list[np.ndarray]:
        """Those of all parts, by number."""
        return [picture for album in self._albums.values() for picture in album.pictures]

    @functools.cached_property
    def _captions(self) -> list[list[str]]:
        return [several for album in self._albums.values() for several in album.captions]

    @functools.cached_property
    def _rows(self) -> dict[str, Examples]:
        """Tokens of each caption, padded. Its label is the picture's number n, or ~n after the first caption.

        All rows of a part have one length, so that batches are not of captions of similar length: those of pictures
        with few things would all be in one batch, and its norms would be unlike those of others.
        """
        rows, first = {}, 0
        for name, album in self._albums.items():
            tokens = [self.codec.encode_target(text) for several in album.captions for text in several]
            labels = [n if k == 0 else ~n for n, some in enumerate(album.captions, first) for k in range(len(some))]
            kept = [name != "train" or len(row) <= self.config.most_tokens for row in tokens]
            if not any(kept):
                raise UsageError(f"data.most_tokens {self.config.most_tokens} leaves no training caption; raise it")
            padded_NT, _ = padded([row for row, keep in zip(tokens, kept, strict=True) if keep])
            rows[name] = padded_NT, np.array(labels, np.int32)[kept]
            first += len(album.captions)
        return rows

    @property
    def held_out(self) -> tuple[str, ...]:
        return tuple(name for name in self.splits if name != "validation")

    def fingerprint(self) -> str:
        digest = hashlib.sha256(super().fingerprint().encode())
        for album in self._albums.values():
            digest.update(np.ascontiguousarray(album.pictures))
        return digest.hexdigest()

    @classmethod
    def codec_from_json(cls, data: dict[str, Any]) -> CaptionCodec:
        return CaptionCodec.from_json(data)

    def summary(self) -> str:
        sizes = ", ".join(f"{name.replace('_', ' ')} {len(album.pictures):,}" for name, album in self._albums.items())
        return f"pictures of {self.config.size} x {self.config.size}: {sizes}; {self.codec.target.vocab_size:,} words"

    _multiple = 1

    def _make(self, rows: list[np.ndarray], labels: np.ndarray, multiple_of: int) -> CaptionedPictures:
        del multiple_of
        pictures = [self._pictures[n if n >= 0 else ~n] for n in labels]
        return batch_of(pictures, rows, np.maximum(labels, -1))

    def axes(self, batch: CaptionedPictures) -> CaptionedPictures:
        return CaptionedPictures(("batch", None, None, None), ("batch", "time"), ("batch",), ("batch",))

    def build(self, config: CaptionerConfig, *, rngs: nnx.Rngs) -> Seq2Seq | MajorityCaption:
        if config.kind == "majority":
            return MajorityCaption(config, self.codec.encode_target(self.codec.commonest), self.codec.vocab_size)

        def encoder(rngs: nnx.Rngs) -> PictureEncoder:
            sizes = self.config.size, self.config.size, CHANNELS, config.features, config.halvings
            return PictureEncoder(*sizes, dtype=config.dtype, rngs=rngs)

        return Seq2Seq(config, encoder, self.codec.vocab_size, begin=self.codec.begin, rngs=rngs)

    def _encoded(self, model: Any, batch: CaptionedPictures, key: jax.Array | None = None) -> DecoderCarry:
        pictures_BHWC = jnp.asarray(batch.pictures_BHWC)
        return model.encode(pictures_BHWC if model.config.reads else jnp.zeros_like(pictures_BHWC), None, key)

    def _longest(self, batch: CaptionedPictures) -> int:
        return self.config.most_tokens

    def predict(self, model: Any, batch: CaptionedPictures) -> dict[str, jax.Array]:
        if model.config.kind != "majority":
            return super().predict(model, batch)
        tokens_BT = model.captions(batch.lengths_B.shape[0])
        return {"tokens": tokens_BT, "attention": jnp.zeros((*tokens_BT.shape, 0), jnp.float32)}

    def judge(self, predicted: Any, batch: CaptionedPictures) -> dict[str, Ratio]:
        """Of each picture once, whose caption need not be the row's."""
        there = np.flatnonzero((batch.lengths_B > 0) & (batch.picture_B >= 0))
        texts = [self.codec.decode_target(predicted["tokens"][n]) for n in there]
        references = [self._captions[number] for number in batch.picture_B[there]]
        right = sum(text in several for text, several in zip(texts, references, strict=True))
        return {"exact": Ratio(np.float64(right), np.float64(len(texts))), "ngrams": bleu.counts(texts, references)}

    def derive(self, ratios: Mapping[str, Ratio]) -> dict[str, float]:
        return super().derive(ratios) | ({"bleu": bleu.score(ratios["ngrams"])} if "ngrams" in ratios else {})

    def describe(self, result: Mapping[str, float], split: str, *, carry: bool) -> str:
        numbers = sorted({len(several) for several in self._captions})
        return f"{super().describe(result, split, carry=carry)} ({bleu.signature(numbers)})"

    def read(self, text: str) -> np.ndarray:
        if not text.strip():
            raise UsageError("the input is empty; give the path of a picture")
        return own.load(text.strip(), self.config.size)

    def blank(self, length: int) -> np.ndarray:
        return np.zeros((self.config.size, self.config.size, CHANNELS), np.uint8)

    def collate(self, examples: list[np.ndarray]) -> CaptionedPictures:
        none = [np.zeros(0, np.int32)] * len(examples)
        return batch_of(examples, none, np.arange(len(examples)))

    def render(self, predicted: Any, example: np.ndarray) -> dict[str, Any]:
        answer = {"caption": self.codec.decode_target(predicted["tokens"])}
        tokens_T, attention_TS = self._attended(predicted)
        if not attention_TS.shape[1]:
            return answer
        side = round(attention_TS.shape[1] ** 0.5)
        maps_TXY = np.round(attention_TS.reshape(-1, side, side), 4)
        return answer | {"words": self.codec.target_pieces(tokens_T), "attention": maps_TXY.tolist()}

    def draw(self, axes: Any, answer: dict[str, Any], example: np.ndarray) -> None:
        """The picture and its caption and, with attention, where each word looks."""
        draw(axes, example, answer["caption"], answer.get("words", []), answer.get("attention", []))


def _made(config: CaptionConfig) -> dict[str, Album]:
    counts = {name: config.train_pictures if name == "train" else config.tested_pictures for name in made.SOURCES}
    parts = made.pictures(counts, config.size)
    return {name: Album(pictures, [[text] for text in texts]) for name, (pictures, texts) in parts.items()}


def _own(config: CaptionConfig) -> dict[str, Album]:
    parts = own.read(config.path)
    for name in ("test", "validation"):
        parts = with_part(parts, name, getattr(config, name))
    albums = {}
    for name, part in parts.items():
        pictures = np.stack([own.load(one.path, config.size) for one in part])
        albums[name] = Album(pictures, [[plain(caption) for caption in one.captions] for one in part])
    return albums
