"""End tokens of a folder: `eos_token_id` in all forms found in Hugging Face's files."""

import json

import pytest

from experiments.programs import official_folder as official
from xlstm_jax.data.text.bpe import BPETokenizer
from xlstm_jax.data.text.tokenizers import ByteTokenizer
from xlstm_jax.errors import UsageError

BPE = BPETokenizer.from_text("the cat", vocab_size=257)
ABSENT = object()


def ends(folder, generation, config, tokenizer=BPE):
    for name, given in (("generation_config.json", generation), ("config.json", config)):
        if generation is not ABSENT or name == "config.json":
            (folder / name).write_text(json.dumps({} if given is ABSENT else {"eos_token_id": given}))
    return official.end_tokens(folder, 300, tokenizer)


@pytest.mark.parametrize(
    ("generation", "config", "wanted"),
    [
        (ABSENT, 2, (2,)),
        (ABSENT, [7, 2, 7], (7, 2)),
        ([5], 2, (5,)),
        (None, 2, ()),
        (ABSENT, None, ()),
        (ABSENT, ABSENT, (0,)),
    ],
)
def test_end_tokens(tmp_path, generation, config, wanted):
    """generation_config.json takes precedence, null means none, and without the key it is the tokenizer's end token."""
    assert ends(tmp_path, generation, config) == wanted


def test_neither_file_nor_tokenizer_names_one(tmp_path):
    assert ends(tmp_path, ABSENT, ABSENT, ByteTokenizer()) == ()


@pytest.mark.parametrize("given", [-1, 300, "2", [2, None], True, 1.0, {}])
def test_what_is_no_token(tmp_path, given):
    with pytest.raises(UsageError, match=r"config\.json has eos_token_id .*must be a token from 0 to 299"):
        ends(tmp_path, ABSENT, given)
