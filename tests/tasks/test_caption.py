"""Captions: metrics by hand with several references, a folder of one's own from training to a figure, baselines."""

import json

import jax
import matplotlib
import numpy as np
import pytest
from PIL import Image

from tests.tasks.examples import tiny_config
from xlstm_jax.errors import UsageError
from xlstm_jax.tasks import bleu
from xlstm_jax.tasks.base import added
from xlstm_jax.tasks.caption import Caption, CaptionConfig
from xlstm_jax.train.build import build
from xlstm_jax.train.evaluate import evaluate
from xlstm_jax.train.loop import train
from xlstm_jax.train.workdir import saved
from xlstm_jax.train.workdir.metrics import read_metrics

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def write(folder, count=24, seed=0):
    """Squares of one colour on the left or on the right; every second picture has two captions."""
    rng, rows = np.random.default_rng(seed), []
    folder.mkdir()
    for number in range(count):
        colour, side = rng.choice(list(COLOURS)), rng.integers(2)
        image = Image.new("RGB", (32, 32))
        image.paste(COLOURS[colour], (4 + 14 * side, 10, 14 + 14 * side, 20))
        image.save(folder / f"{number}.png")
        texts = [f"A {colour} square on the {('left', 'right')[side]}", f"something {colour}"]
        rows += [{"file": f"{number}.png", "caption": text} for text in texts[: 1 + number % 2]]
    (folder / "captions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return str(folder)


@pytest.fixture
def folder(tmp_path):
    return write(tmp_path / "pictures")


def made(folder, **options):
    config = tiny_config("caption", folder)
    config.data.path, config.data.size = folder, 16
    config.model.pattern, config.model.halvings = "r", 2
    for key, value in options.items():
        config.model[key] = value
    return config


def task_of(folder, **options):
    return Caption(CaptionConfig(path=folder, size=16, batch_size=4, **options))


def test_bleu_with_several_references():
    """As sacrebleu scores all texts at once; the reference of the closest length counts."""
    from sacrebleu.metrics import BLEU

    texts = ["the cat sat on the mat .", "a dog ran home today"]
    references = [["the cat sat on a mat .", "a cat was on the mat ."], ["the dog ran home"]]
    sums = {}
    for text, several in zip(texts, references, strict=True):
        sums = added(sums, {"n": bleu.counts([text], [several])})
    wanted = BLEU().corpus_score(texts, [[one[0] for one in references], [references[0][1], None]])
    assert bleu.score(sums["n"]) == pytest.approx(wanted.score, rel=1e-9)
    assert sums["n"].count[4] == wanted.ref_len == 11
    assert "nrefs:1" in bleu.signature() and "nrefs:var" in bleu.signature((1, 2)) and "nrefs:5" in bleu.signature((5,))


def test_each_picture_is_judged_once(folder):
    """By any of its captions, word for word; the loss counts every caption."""
    task = task_of(folder)
    albums = task._albums
    assert sorted(len(album.pictures) for album in albums.values()) == [2, 2, 20]
    captions = [caption for album in albums.values() for several in album.captions for caption in several]
    assert len(captions) == 36 and set(map(str.islower, captions)) == {True}
    pictures = rows = 0
    for batch in task.batches("validation"):
        tokens = []
        for number in batch.picture_B:
            last = task.codec.encode_target(task._captions[number][-1] if number >= 0 else "nothing")
            tokens.append(np.pad(last, (0, 12 - len(last))))
        right = task.judge({"tokens": np.array(tokens)}, batch)
        assert float(right["exact"].total) == float(right["exact"].count)
        wrong = task.judge({"tokens": np.zeros((4, 12), np.int32)}, batch)
        assert float(wrong["exact"].total) == 0 and wrong["exact"].count == right["exact"].count
        pictures, rows = pictures + right["exact"].count, rows + (batch.lengths_B > 0).sum()
    assert pictures == 2 and rows == sum(map(len, albums["validation"].captions))


def test_batches_pair_pictures_with_captions(folder):
    task = task_of(folder)
    for batch in [next(iter(task.train_batches(0))), *task.batches("test")]:
        for picture_HWC, target_T, length in zip(batch.pictures_BHWC, batch.target_BT, batch.lengths_B, strict=True):
            if length:
                colour = tuple((picture_HWC.max(axis=(0, 1)) > 0.5).astype(int))
                assert task.codec.decode_target(target_T).split()[1] == ("red", "green", "blue")[colour.index(1)]
                assert picture_HWC.shape == (16, 16, 3) and picture_HWC.dtype == np.float32
    longest = task_of(folder, most_tokens=3)
    assert longest._rows["train"][0].shape[1] == 3 < task._rows["train"][0].shape[1] and len(
        longest._rows["test"][0]
    ) == len(task._rows["test"][0])


def test_other_pictures_are_other_data(folder, tmp_path):
    """Though their captions are the same."""
    first = task_of(folder).fingerprint()
    assert task_of(folder).fingerprint() == first
    name = json.loads((tmp_path / "pictures" / "captions.jsonl").read_text().splitlines()[0])["file"]
    Image.new("RGB", (32, 32)).save(tmp_path / "pictures" / name)
    assert task_of(folder).fingerprint() != first


def test_what_a_blind_model_sees(folder):
    parts = build(made(folder, reads=False, attention="general").to_dict())
    params, batch = parts.new_params(), next(iter(parts.task.batches("test")))
    run = jax.jit(lambda batch: parts.task.forward(parts.model(params), batch, None, None).loss)
    assert float(run(batch).total) == float(run(batch._replace(pictures_BHWC=1 - batch.pictures_BHWC)).total)


def test_the_commonest_caption(folder):
    parts = build(made(folder, kind="majority").to_dict())
    task, result = parts.task, evaluate(parts, parts.new_params(), "test")
    commonest = task.codec.commonest
    here = task._albums["test"].captions
    assert result["exact"] == sum(commonest in several for several in here) / len(here)
    assert result["loss"] == pytest.approx(task.loss_at_chance)
    example = task.blank(0)
    predicted = task.predict(parts.model(parts.new_params()), task.collate([example]))
    answer = task.render(jax.tree.map(lambda a: np.asarray(a)[0], predicted), example)
    assert answer == {"caption": commonest}


@pytest.mark.slow
@pytest.mark.parametrize("attention", ["general", "none"])
def test_a_folder_of_ones_own_is_learned(tmp_path, attention):
    """And asked for a file; with attention, the figure has a panel for each word."""
    folder = write(tmp_path / "pictures", 200)
    config = made(folder, attention=attention, features=32)
    config.data.batch_size = 20
    config.optimizer.learning_rate, config.train.steps, config.train.eval_every = 5e-3, 200, 100
    assert train(config, tmp_path / "run") == 0
    (scored,) = [record for record in read_metrics(tmp_path / "run") if "test/bleu" in record]
    assert scored["test/exact"] > 0.9 and scored["test/bleu"] > 80
    parts, params, _ = saved.load(tmp_path / "run")
    task, example = parts.task, parts.task.read(f"{folder}/3.png\n")
    predicted = task.predict(parts.model(params), task.collate([example]))
    answer = task.render(jax.tree.map(lambda a: np.asarray(a)[0], predicted), example)
    assert answer["caption"] in task_of(folder)._captions[0] or answer["caption"].split()[1] in COLOURS
    axes = matplotlib.figure.Figure().subplots()
    task.draw(axes, answer, example)
    if attention == "none":
        assert set(answer) == {"caption"} and len(axes.child_axes) == 1
        return
    assert len(axes.child_axes) == 1 + len(answer["words"]) and np.asarray(answer["attention"]).shape[1:] == (4, 4)
    assert [panel.get_title() for panel in axes.child_axes[1:]] == answer["caption"].split()
    assert json.loads(json.dumps(answer)) == answer


def test_errors(folder, tmp_path):
    task = task_of(folder)
    with pytest.raises(UsageError, match="the input is empty; give the path of a picture"):
        task.read(" \n")
    with pytest.raises(UsageError, match=r"cannot read .*none\.png' as a picture"):
        task.read(f"{tmp_path}/none.png")
    with pytest.raises(UsageError, match="batch_size 99 is more than the "):
        Caption(CaptionConfig(path=folder, size=16, batch_size=99))
    with pytest.raises(UsageError, match="most_tokens 1 leaves no training caption; raise it"):
        task_of(folder, most_tokens=1)
    with pytest.raises(UsageError, match=r"data\.test 0 does not fit 24 training examples"):
        task_of(folder, test=0.0)
