"""Losses and metrics of language modelling, against sums by hand over a model that is a table."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.tasks.examples import tiny_config, write_text
from xlstm_jax.data.text.layout import Batch
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks.base import Ratio, added, mean, metrics
from xlstm_jax.tasks.language_model import DataConfig, LanguageModeling
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.step import init_state

# Characters of one, two, three and four bytes.
TEXT = "aé€𝄞b" * 60 + "\nabé"


class Bigram:
    """A model whose logits are a row of a table, and whose carry counts tokens since the last reset."""

    def __init__(self, vocabulary: int):
        self.table = np.random.default_rng(0).standard_normal((vocabulary, vocabulary)).astype(np.float32)
        self.calls = []

    def unroll(self, tokens_BT, carry=None, *, reset=None, key=None):
        self.calls.append((carry, reset, key))
        return jnp.asarray(self.table)[tokens_BT], 1 if carry is None else carry + 1

    def nats(self, tokens, targets):
        logits = self.table[tokens].astype(np.float64)
        return np.log(np.exp(logits).sum(-1)) - np.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]


@pytest.fixture
def make(tmp_path):
    def make(text=TEXT, **options):
        path = tmp_path / "text.txt"
        path.write_text(text, encoding="utf-8")
        return LanguageModeling(DataConfig(path=str(path), **{"sequence_length": 7, "batch_size": 4, **options}))

    return make


def summed(task, model, split, carry):
    sums, state = {}, 0 if carry else None
    for batch in task.batches(split, carry=carry):
        outcome = task.forward(model, batch, state, None)
        state = outcome.carry if carry else None
        sums = added(sums, {"loss": outcome.loss, **outcome.ratios})
    return metrics(task, sums)


@pytest.mark.parametrize("carry", [False, True])
@pytest.mark.parametrize("tokenizer", ["byte", "char"])
def test_evaluation_by_hand(make, tokenizer, carry):
    """A model without memory scores every pair of neighbours of the split, in whatever order they come."""
    task = make(tokenizer=tokenizer)
    model = Bigram(task.codec.vocab_size)
    tokens = task.splits["validation"].astype(int)
    nats = model.nats(tokens[:-1], tokens[1:])
    size = len(task.codec.decode(tokens[1:].astype(np.uint8)).encode())
    if tokenizer == "byte":
        size = len(tokens) - 1  # the split may cut a character
    got = summed(task, model, "validation", carry)
    assert got["loss"] == pytest.approx(nats.mean(), rel=1e-6)
    assert got["bits_per_byte"] == pytest.approx(nats.sum() / math.log(2) / size, rel=1e-6)
    assert got["perplexity"] == pytest.approx(math.exp(nats.mean()), rel=1e-5)
    right = model.table[tokens[:-1]].argmax(-1) == tokens[1:]
    assert got["accuracy"] == pytest.approx(right.mean()) and got["tokens"] == len(tokens) - 1


def test_bits_per_byte_of_a_known_distribution(make):
    """Uniform over the alphabet: log A nats a character, spread over its UTF-8 bytes."""
    task = make(tokenizer="char")
    size = task.codec.vocab_size
    model = Bigram(size)
    model.table[:] = 0
    got = summed(task, model, "validation", carry=False)
    assert got["loss"] == pytest.approx(math.log(size), rel=1e-6)
    characters = task.codec.decode(task.splits["validation"][1:])
    assert {1, 2, 3, 4} == {len(c.encode()) for c in characters}
    bits = len(characters) * math.log2(size) / len(characters.encode())
    assert got["bits_per_byte"] == pytest.approx(bits, rel=1e-6)


def test_a_model_with_a_zero_head_is_uniform(tmp_path):
    config = tiny_config("language_model", write_text(tmp_path / "text.txt", words=100))
    config.model.pattern, config.model.recurrent.cell = "r", "rnn"
    run = build(config.to_dict())
    params = init_state(run).params
    params["head"] = jax.tree.map(jnp.zeros_like, params["head"])
    result = evaluate(run, params, "validation", carry=False)
    assert result["loss"] == pytest.approx(math.log(run.task.codec.vocab_size), rel=1e-6)


def test_evaluation_counts_every_target_once(make):
    """In either order: the tokens of a split are the same many, and all but the first are targets."""
    task = make(tokenizer="char")
    for split, tokens in task.splits.items():
        for carry in (False, True):
            batches = list(task.batches(split, carry=carry))
            targets = np.concatenate([batch.targets_BT[batch.mask_BT] for batch in batches])
            np.testing.assert_array_equal(np.sort(targets), np.sort(tokens[1:]))


def test_carry_changes_the_result_a_little(tmp_path):
    """More context before each window, the same targets."""
    run = build(tiny_config("language_model", write_text(tmp_path / "text.txt")).to_dict())
    params = init_state(run).params
    alone, carried = (evaluate(run, params, "validation", carry=carry) for carry in (False, True))
    assert alone["tokens"] == carried["tokens"] == len(run.task.splits["validation"]) - 1
    assert alone["loss"] != carried["loss"]
    assert carried["loss"] == pytest.approx(alone["loss"], rel=0.05)


def test_training_loss_is_the_mean_over_the_mask(make):
    task, rng = make(tokenizer="char"), np.random.default_rng(1)
    model = Bigram(task.codec.vocab_size)
    tokens, targets = rng.integers(0, task.codec.vocab_size, (2, 4, 7)).astype(np.int32)
    mask = rng.random((4, 7)) < 0.6
    batch = Batch(tokens, targets, mask, np.zeros((4, 7), bool))
    loss = mean(task.forward(model, batch, None, None).loss)
    assert float(loss) == pytest.approx(model.nats(tokens, targets)[mask].mean(), rel=1e-6)
    nothing = batch._replace(mask_BT=np.zeros((4, 7), bool))
    assert float(mean(task.forward(model, nothing, None, None).loss)) == 0


def test_resets_go_with_a_carry(make):
    """Without a carry every row starts empty anyway; with one, the batch says where."""
    task = make(tokenizer="char", sampling="stream")
    model, batch, key = Bigram(task.codec.vocab_size), next(iter(task.train_batches(0))), jax.random.key(0)
    carry = task.forward(model, batch, None, key).carry
    carry = task.forward(model, batch, carry, key).carry
    task.forward(model, batch, carry, None)
    (none, no_reset, _), (one, reset, given), (two, scored, without) = model.calls
    assert (none, one, two) == (None, 1, 2) and no_reset is None
    assert reset is batch.reset_BT and scored is batch.reset_BT
    assert given is key and without is None  # no dropout in evaluation
    assert task.passes_carry and not make(sampling="windows").passes_carry


@pytest.mark.parametrize("tokenizer", ["char", "bpe"])
def test_packed_documents(make, tokenizer):
    """Resets always go to the model, targets never cross a border, and either evaluation covers all documents."""
    documents = [word * (1 + n % 5) for n, word in enumerate(["ab", "é€", "b", "𝄞a", "aba€"] * 6)]
    task = make(
        "\n".join(documents), tokenizer=tokenizer, sampling="packed", document_separator="\n", train_fraction=0.8
    )
    model, batch = Bigram(task.codec.vocab_size), next(iter(task.train_batches(0)))
    task.forward(model, batch, None, jax.random.key(0))
    task.forward(model, batch, None, None)
    assert all(reset is batch.reset_BT for _, reset, _ in model.calls) and not task.passes_carry
    end = [] if task.codec.end_token is None else [task.codec.end_token]
    last = [[*task.codec.encode(document), *end] for document in documents]
    count = sum(map(len, last))
    tokens = np.concatenate([task.splits["train"], task.splits["validation"]])
    assert tokens.tolist() == [token for document in last for token in document] and len(tokens) == count
    held, seen = 0, len(task.splits["validation"])
    while seen > 0:
        held, seen = held + 1, seen - len(last[-1 - held])
    assert seen == 0 and 2 <= held <= 5  # the cut lies between two documents
    pairs = [pair for document in last[-held:] for pair in itertools.pairwise(document)]
    nats = model.nats(*np.array(pairs).T)
    for carry in (False, True):
        got = summed(task, model, "validation", carry)
        assert got["tokens"] == len(pairs) and got["loss"] == pytest.approx(nats.mean(), rel=1e-6)


def test_metrics_of_each_source(make, tmp_path):
    """Those of a mixture are what each source gives alone, and together each token counts the same."""
    make()  # text.txt
    (tmp_path / "folder").mkdir()
    for number in range(9):
        (tmp_path / "folder" / f"{number}.txt").write_text("ba€ab" * (number + 3), encoding="utf-8")
    paths = [str(tmp_path / "text.txt"), str(tmp_path / "folder")]
    shape = {"sequence_length": 7, "batch_size": 4}
    mixed = LanguageModeling(DataConfig(mixture=f"{paths[0]}:3,{paths[1]}:1", **shape))
    model = Bigram(256)
    for carry in (False, True):
        whole = summed(mixed, model, "validation", carry)
        apart = {}
        for path in paths:
            name = path.rpartition("/")[2]
            apart[name] = summed(LanguageModeling(DataConfig(path=path, **shape)), model, "validation", carry)
            for metric, value in apart[name].items():
                assert whole[f"{name}/{metric}"] == pytest.approx(value, rel=1e-6)
        tokens = sum(own["tokens"] for own in apart.values())
        nats = sum(own["loss"] * own["tokens"] for own in apart.values())
        assert (whole["tokens"], whole["loss"]) == (tokens, pytest.approx(nats / tokens, rel=1e-6))
        assert len(whole) == 3 * 5
    assert len(mixed.splits["train"]) == sum(len(splits["train"].tokens_N) for splits in mixed.texts.splits_S)
    np.testing.assert_array_equal(mixed.splits["validation"][:5], mixed.texts.splits_S[0]["validation"].tokens_N[:5])


def test_bits_per_byte_are_over_the_same_text(make):
    """Whatever the tokenizer: all bytes after the cut, which lies where it lay."""
    for tokenizer in ("byte", "char", "bpe"):
        task = make(tokenizer=tokenizer, vocab_size=260)
        sizes = task.codec.bytes_per_token[task.splits["validation"][1:]]
        assert sizes.sum() == len(TEXT[int(0.9 * len(TEXT)) :].encode())


def test_huge_loss_has_a_perplexity(make):
    assert make().derive({"loss": Ratio(np.float64(1e6), np.float64(1))})["perplexity"] > 1e300


def test_fingerprint_follows_the_text(make):
    first = make().fingerprint()
    assert make().fingerprint() == first != make(TEXT + "a").fingerprint()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sequence_length": 0}, r"data\.sequence_length 0 is not allowed"),
        ({"batch_size": 0}, r"data\.batch_size 0 is not allowed"),
        ({"train_fraction": 1.0}, r"data\.train_fraction 1\.0 is not allowed"),
        ({"train_fraction": 0.0}, r"data\.train_fraction 0\.0 is not allowed"),
        ({"text": "short", "sequence_length": 20}, r"sequence_length=20 needs at least 21 training tokens"),
        ({"sampling": "stream", "batch_size": 100}, r"stream sampling of 100 rows"),
        ({"tokenizer": "words"}, r"unknown tokenizer 'words'; known: bpe, byte, char"),
        ({"tokenizer": "bpe", "vocab_size": 99}, r"data\.vocab_size 99 is not allowed; must be at least 257"),
        ({"tokenizer_path": "a.json"}, r"data\.tokenizer_path is for data\.tokenizer 'bpe', and that is 'byte'"),
        ({"text": "a", "sampling": "packed"}, r"train_fraction=0\.9 of the 1 characters of text\.txt leaves no text"),
        ({"text": "a b c", "document_separator": " ", "sampling": "packed"}, r"no document has 2 tokens"),
        ({"mixture": "stdlib:1", "sampling": "stream"}, r"data\.sampling 'stream' is for one source"),
    ],
)
def test_data_that_cannot_work(make, options, message):
    """Before anything is built."""
    with pytest.raises(UsageError, match=message) as caught:
        make(**options)
    assert "\n" not in str(caught.value)


def test_unknown_source_and_split(make):
    with pytest.raises(UsageError, match="unknown data source 'wiki'; known: stdlib, tinyshakespeare"):
        LanguageModeling(DataConfig(source="wiki"))
    with pytest.raises(UsageError, match="split 'test' is unknown; allowed: train, validation"):
        make().batches("test", carry=False)
