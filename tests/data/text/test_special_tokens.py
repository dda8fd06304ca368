"""Special tokens as placed by the `tokenizers` library, and tokenizers that change the text."""

import pytest
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

from tests.data.text.test_bpe import byte_level
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.data.text.corpus import Corpus
from xlstm_jax.data.text.sources import Source
from xlstm_jax.data.text.token_cache import encode_kept
from xlstm_jax.data.text.tokenizers import ByteTokenizer
from xlstm_jax.errors import UsageError
from xlstm_jax.generate import encode_prompts

BOS, EOS = ("<s>", 257), ("</s>", 256)


def template(single: str):
    return processors.TemplateProcessing(single=single, special_tokens=[BOS, EOS])


def with_template(processor) -> Tokenizer:
    encoder = byte_level()
    encoder.add_special_tokens([BOS[0]])
    if processor is not None:
        encoder.post_processor = processor
    return encoder


TEMPLATES = {
    "none": (None, (), ()),
    "byte level": (processors.ByteLevel(), (), ()),
    "first": (template("<s> $A"), (257,), ()),
    "last": (template("$A </s>"), (), (256,)),
    "both": (processors.Sequence([processors.ByteLevel(), template("<s> <s> $A </s>")]), (257, 257), (256,)),
    "roberta": (processors.RobertaProcessing(EOS, BOS), (257,), (256,)),
    "bert": (processors.BertProcessing(EOS, BOS), (257,), (256,)),
}


@pytest.mark.parametrize("case", TEMPLATES)
def test_prompts_are_read_as_the_library_does(case):
    """Prompts get the post-processor's tokens, and names of special tokens are encoded as these tokens."""
    processor, prefix, suffix = TEMPLATES[case]
    tokenizer = BPETokenizer(with_template(processor))
    assert (tokenizer.prefix, tokenizer.suffix) == (prefix, suffix)
    theirs = with_template(processor)
    prompts = ["the cat", "a</s>b <s>", "é", ""]
    tokens_BT, lengths_B = encode_prompts(tokenizer, prompts)
    for prompt, row, length in zip(prompts, tokens_BT, lengths_B, strict=True):
        assert row[:length].tolist() == theirs.encode(prompt).ids
    # A continuation of a text gets no tokens for its beginning.
    tokens_BT, lengths_B = encode_prompts(tokenizer, prompts, begin=False)
    for prompt, row, length in zip(prompts, tokens_BT, lengths_B, strict=True):
        assert row[:length].tolist() == theirs.encode(prompt, add_special_tokens=False).ids
    assert not set(tokenizer.encode("a</s>b <s>").tolist()) & {256, 257}  # names in a document are ordinary text


@pytest.mark.parametrize("case", TEMPLATES)
def test_documents_stand_between_them(tmp_path, monkeypatch, case):
    """Once around each document, even if the cut for validation divides it. Special tokens have no bytes."""
    monkeypatch.setenv("XLSTM_JAX_CACHE", str(tmp_path / "cache"))
    processor, prefix, suffix = TEMPLATES[case]
    tokenizer, end = BPETokenizer(with_template(processor)), suffix or (256,)
    ids = {text: tokenizer.encode(text).tolist() for text in ("abcdefgh", "ij")}
    (tmp_path / "one.txt").write_text("abcdefgh")
    for text, separator in (("abcdefgh", ""), ("abcdefgh\n\nij", "\n\n")):
        (tmp_path / "one.txt").write_text(text)
        splits = Corpus(Source("", str(tmp_path / "one.txt"), separator), 0.5, packed=False).splits(tokenizer)
        wanted = [[*prefix, *ids[part], *end] for part in text.split("\n\n")]
        assert splits["all"].tokens_N.tolist() == [token for tokens in wanted for token in tokens]
        assert tokenizer.bytes_per_token[splits["all"].tokens_N].sum() == len(text.replace("\n\n", ""))


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        (template("$A <s> $A"), "changes the text or repeats it"),
        (processors.TemplateProcessing(single="<x> $A", special_tokens=[("<x>", 900)]), "adds token 900, but there"),
    ],
)
def test_templates_that_do_not_serve(processor, words):
    with pytest.raises(UsageError, match=words):
        BPETokenizer(with_template(processor))


def changed(**parts) -> Tokenizer:
    encoder = byte_level()
    for name, part in parts.items():
        setattr(encoder, name, part)
    return encoder


def cut_at(*steps) -> Tokenizer:
    return changed(pre_tokenizer=pre_tokenizers.Sequence([*steps, pre_tokenizers.ByteLevel(add_prefix_space=False)]))


def with_token(**options) -> Tokenizer:
    encoder = byte_level()
    encoder.add_tokens([AddedToken("<mask>", **options)])
    return encoder


CHANGING = {
    "lower case": (changed(normalizer=normalizers.Lowercase()), "A cat", "its normalizer is Lowercase"),
    "nfkc": (changed(normalizer=normalizers.NFKC()), "ﬁne", "its normalizer is NFKC"),
    "nfc": (changed(normalizer=normalizers.NFC()), "e\u0301", "its normalizer is NFC"),
    "strip": (changed(normalizer=normalizers.Strip()), " cat", "its normalizer is Strip"),
    "replace": (changed(normalizer=normalizers.Replace("a", "o")), "cat", "its normalizer is Replace"),
    "two": (
        changed(normalizer=normalizers.Sequence([normalizers.NFC(), normalizers.Lowercase()])),
        "CAT",
        "its normalizer is NFC + Lowercase",
    ),
    "removed": (cut_at(pre_tokenizers.Split(" ", "removed")), "a b", "its pre_tokenizer Split removes the text"),
    "punctuation": (cut_at(pre_tokenizers.Punctuation("removed")), "a.b", "its pre_tokenizer Punctuation removes"),
    "whitespace": (cut_at(pre_tokenizers.Whitespace()), "a b", "its pre_tokenizer Whitespace removes"),
    "left": (with_token(lstrip=True), "a <mask>", "its token '<mask>' strips adjacent spaces"),
    "right": (with_token(rstrip=True), "<mask> a", "its token '<mask>' strips adjacent spaces"),
}


@pytest.mark.parametrize("case", CHANGING)
def test_losses_on_a_changed_text_are_refused(case):
    """The message is one line and names the cause. A text that the tokenizer keeps is accepted, with all its bytes."""
    encoder, text, words = CHANGING[case]
    tokenizer = BPETokenizer(encoder)
    with pytest.raises(UsageError) as caught:
        encode_kept(tokenizer, text)
    message = str(caught.value)
    assert words in message and "it reads" in message and "\n" not in message
    assert tokenizer.bytes_per_token[encode_kept(tokenizer, "thed")].sum() == 4


def test_what_keeps_the_text_is_taken():
    steps = [pre_tokenizers.Split(Regex(r"\d"), "isolated"), pre_tokenizers.Punctuation(), pre_tokenizers.Digits()]
    for encoder in (byte_level(), cut_at(*steps), with_token()):
        tokenizer = BPETokenizer(encoder)
        text = "The cat, 42 <mask> \n é"
        assert tokenizer.changes == "" and tokenizer.bytes_per_token[encode_kept(tokenizer, text)].sum() == 23
    assert encode_kept(ByteTokenizer(), "é").tolist() == [195, 169]


def test_a_text_of_another_length_is_refused_whatever_the_file_says():
    tokenizer = BPETokenizer(changed(normalizer=normalizers.NFC()))
    tokenizer.changes = ""
    with pytest.raises(UsageError, match="for an unknown reason"):
        encode_kept(tokenizer, "e\u0301")


def test_a_run_on_a_changed_text_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("XLSTM_JAX_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text("The cat. " * 20)
    corpus = Corpus(Source("", str(tmp_path / "text.txt")), 0.5, packed=False)
    with pytest.raises(UsageError, match=r"its normalizer is Lowercase.*so bits per byte would be of another"):
        corpus.splits(BPETokenizer(changed(normalizer=normalizers.Lowercase())))
    assert len(corpus.splits(ByteTokenizer())["all"].tokens_N) == 180


def test_dropout_is_switched_off():
    """A file's dropout would make the encoding random; here it equals that of the file without dropout."""
    vocabulary = {c: n for n, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))} | {"ab": 256, "abab": 257}
    files = []
    for dropout in (None, 0.9):
        encoder = byte_level()
        encoder.model = models.BPE(vocabulary, [("a", "b"), ("ab", "ab")], dropout=dropout)
        files.append(encoder)
    wanted = files[0].encode("abab" * 9).ids
    assert any(files[1].encode("abab" * 9).ids != wanted for _ in range(5))
    tokenizer = BPETokenizer(files[1])
    assert all(tokenizer.encode("abab" * 9).tolist() == wanted for _ in range(5))
    assert tokenizer.to_json()["tokenizer"]["model"]["dropout"] is None
