"""Generation equals feeding tokens back to `unroll`: in pieces, for rows of different lengths, up to stop tokens."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tests.models.examples import VOCABULARY, error, example, small
from xlstm_jax.errors import UsageError
from xlstm_jax.generate import decode, decoding, generate, init_state, prefill

pytestmark = pytest.mark.usefixtures("rolled")

PROMPT = np.array([[3, 1, 4], [1, 5, 9]], np.int32)
CHUNK = 8  # small, so that a few tokens fill several pieces


@pytest.fixture(scope="module")
def model():
    return example(small("ms")).model()


def prompts(lengths, seed=0):
    """Random tokens in the padding too, so that a padding that is read would change the result."""
    return np.random.default_rng(seed).integers(0, VOCABULARY, (len(lengths), max(lengths)), np.int32)


def test_greedy_is_the_most_likely_token_of_a_full_unroll(model):
    """Every token is the argmax after the prompt and all earlier tokens, read at once from an empty carry."""
    tokens_BT = np.asarray(generate(model, jnp.asarray(PROMPT), length=12, temperature=0.0, prefill_chunk=CHUNK))
    assert tokens_BT.shape == (2, 12) and tokens_BT.dtype == np.int32
    whole = np.concatenate([PROMPT, tokens_BT], axis=1)
    made = example(small("ms"))
    logits_BTA, _ = made.unroll(made.params, whole[:, :-1])
    np.testing.assert_array_equal(tokens_BT, np.argmax(logits_BTA, axis=-1)[:, PROMPT.shape[1] - 1 :])
    assert len(set(tokens_BT.ravel())) > 2


def test_seeds_and_rows(model):
    same_prompts = jnp.asarray(PROMPT[[0, 0]])
    first, again, other = (
        np.asarray(generate(model, same_prompts, length=12, seed=seed, prefill_chunk=CHUNK)) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    assert (first[0] != first[1]).any()  # rows are drawn independently
    assert first.min() >= 0 and first.max() < VOCABULARY


@pytest.mark.parametrize("pattern", ["ms", "x", "r"])
def test_prompts_in_pieces_equal_prompts_at_once(pattern):
    """Rows end in the first piece, at its edge, or in the last piece; logits and carry equal those of `unroll`."""
    made = example(small(pattern))
    lengths = [1, 8, 13, 20]
    tokens_BT = prompts(lengths)
    state = prefill(made.model(), tokens_BT, lengths=lengths, prefill_chunk=CHUNK)
    logits_BTA, carry = made.unroll(made.params, tokens_BT, lengths=np.array(lengths, np.int32))
    wanted_BA = np.asarray(logits_BTA)[np.arange(4), np.array(lengths) - 1]
    assert error(state.logits_BA, wanted_BA) < 1e-5
    # Carries differ by the order of sums and by stabilisers, so compare the logits that follow.
    following = prompts([3] * 4, seed=1)
    got, wanted = (made.unroll(made.params, following, before)[0] for before in (state.carry, carry))
    assert error(got, wanted) < 1e-5


def test_a_batch_of_lengths_equals_each_prompt_alone(model):
    lengths = [2, 11, 8]
    tokens_BT = prompts(lengths)
    options = {"length": 9, "temperature": 0.0, "prefill_chunk": CHUNK}
    together = np.asarray(generate(model, tokens_BT, lengths=lengths, **options))
    for row, length in enumerate(lengths):
        alone = generate(model, tokens_BT[row : row + 1, :length], **options)
        np.testing.assert_array_equal(together[row], alone[0])
    assert len(set(together.ravel())) > 2


def test_few_programs_for_all_prompts_of_any_length(model):
    """One for each power of two up to a piece. Other lengths, seeds, weights and numbers of tokens add none."""
    other = example(small("ms")).model(jax.tree.map(lambda leaf: leaf * 0.5, example(small("ms")).params))

    def run(model, time, length, seed=0):
        return decode(
            model, prefill(model, prompts([time, time]), seed=seed, prefill_chunk=CHUNK), length=length, room=9
        )

    for power in range(CHUNK.bit_length()):
        run(model, 1 << power, 9)
    before = decoding._read._cache_size(), decoding._loop._cache_size()
    for model_, time, length, seed in ((model, 3, 9, 0), (model, 8, 1, 7), (other, 57, 4, 0), (model, 200, 0, 0)):
        assert run(model_, time, length, seed).tokens_BT.shape == (2, length)
    assert (decoding._read._cache_size(), decoding._loop._cache_size()) == before


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_text_in_parts_is_the_text_at_once(model, temperature):
    start = prefill(model, PROMPT, seed=3, prefill_chunk=CHUNK)
    options = {"temperature": temperature, "top_k": 9, "room": 20}
    whole = decode(model, start, length=20, **options)
    first = decode(model, start, length=8, **options)
    second = decode(model, first.state, length=12, **options)
    np.testing.assert_array_equal(whole.tokens_BT, np.concatenate([first.tokens_BT, second.tokens_BT], axis=1))
    np.testing.assert_array_equal(whole.state.logits_BA, second.state.logits_BA)


def test_the_state_has_one_size(model):
    start = prefill(model, PROMPT, prefill_chunk=CHUNK)
    after = decode(model, start, length=9).state
    assert jax.tree.map(jnp.shape, start) == jax.tree.map(jnp.shape, after)


def test_stop_tokens(model):
    """Up to its first stop token, a row is unchanged. Then it has padding and keeps its carry."""
    start = prefill(model, prompts([4] * 6), seed=5, prefill_chunk=CHUNK)
    free = np.asarray(decode(model, start, length=30).tokens_BT)
    stop, padding = (2, 7), 10
    tokens_BT, lengths_B, state = decode(model, start, length=30, stop=stop, padding=padding)
    wanted = [next((n + 1 for n, token in enumerate(row) if token in stop), 30) for row in free]
    assert np.asarray(lengths_B).tolist() == wanted and len(set(wanted)) > 2
    for row, length in enumerate(wanted):
        np.testing.assert_array_equal(tokens_BT[row, :length], free[row, :length])
        assert (np.asarray(tokens_BT)[row, length:] == padding).all()
    assert np.asarray(state.done_B).tolist() == [
        row[length - 1] in stop for row, length in zip(free, wanted, strict=True)
    ]
    # The loop ended with the last row, so the number of draws is that of the longest row.
    assert int(state.step) == max(wanted)


def test_a_stopped_row_goes_on_from_its_stop_token():
    """With further tokens, or without stop tokens, it continues as if read alone up to its stop token."""
    made = example(small("ms"))
    start = prefill(made.model(), prompts([4] * 6), seed=5, prefill_chunk=CHUNK)
    ended = decode(made.model(), start, length=30, stop=(2, 7))
    row = int(np.argmin(ended.lengths_B))
    text = np.concatenate([prompts([4] * 6)[row], ended.tokens_BT[row, : int(ended.lengths_B[row])]])
    logits, _ = made.unroll(made.params, text[None])
    assert error(ended.state.logits_BA[row], logits[0, -1]) < 1e-5
    more = prefill(made.model(), prompts([3] * 6, seed=2), state=ended.state, prefill_chunk=CHUNK)
    logits, _ = made.unroll(made.params, np.concatenate([text, prompts([3] * 6, seed=2)[row]])[None])
    assert error(more.logits_BA[row], logits[0, -1]) < 1e-5 and not np.asarray(more.done_B).any()
    assert (np.asarray(decode(made.model(), ended.state, length=5).lengths_B) == 5).all()


@pytest.mark.parametrize(
    ("option", "values", "allowed"),
    [
        ("length", (0, -3, 2**31), "1 to 2147483647"),
        ("temperature", (-0.1, math.nan, math.inf), r"0 \(greedy\) or a finite number over 0"),
        ("top_k", (-1, 2.5, True), r"0 \(keeps all tokens\) or an integer over 0"),
        ("top_p", (0.0, 1.5, math.nan), "over 0 and at most 1"),
        ("seed", (-1, 2**63), "0 to 9223372036854775807"),
    ],
)
def test_options_out_of_range(model, option, values, allowed):
    """The message begins with the option's name."""
    for value in values:
        with pytest.raises(UsageError, match=f"^{option} {value} is not allowed; must be {allowed}"):
            generate(model, PROMPT, **{"length": 5, option: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lengths": [3]}, r"prefill got tokens \(2, 3\), lengths \(1,\); wanted .*: lengths has B = 1, not 2"),
        ({"lengths": [2.5, 3.0]}, r"prefill got lengths \(2,\) of float32; wanted integers \[B\]"),
        ({"lengths": [True, True]}, r"prefill got lengths \(2,\) of bool; wanted integers \[B\]"),
        ({"lengths": [3, 4]}, r"lengths \[3, 4\] do not fit prompts \[2, 3\]; must be 0 to 3"),
        ({"lengths": [3, -1]}, r"lengths \[3, -1\] do not fit"),
        ({"lengths": [3, 0]}, "the prompt is empty; give at least one token"),
        ({"prefill_chunk": 0}, "prefill_chunk 0 is not allowed; must be an integer, at least 1"),
        ({"stop": [11]}, "token 11 is outside the vocabulary; stop and padding must be 0 to 10"),
        ({"stop": "a"}, "token 'a' is outside the vocabulary"),
        ({"padding": -1}, "token -1 is outside the vocabulary"),
        ({"temperature": "x"}, r"temperature 'x' is not allowed; must be 0 \(greedy\)"),
    ],
)
def test_arguments_that_do_not_fit(model, options, message):
    with pytest.raises(UsageError, match=message):
        generate(model, PROMPT, **{"length": 5, "prefill_chunk": CHUNK, **options})


def test_seeds_beyond_32_bits_are_seeds_of_their_own(model):
    seeds = (0, 1, 2**32 - 1, 2**32, 2**32 + 1, 2**63 - 1)
    keys = [tuple(jax.random.key_data(init_state(model, 1, seed).key).tolist()) for seed in seeds]
    assert len(set(keys)) == len(seeds) and keys[0] == tuple(jax.random.key_data(jax.random.key(0)).tolist())


def test_no_token_and_no_rows(model):
    state = init_state(model, 2)
    decoded = decode(model, state, length=0)
    assert decoded.tokens_BT.shape == (2, 0) and not np.asarray(decoded.lengths_B).any()
    for a, b in zip(jax.tree.leaves(decoded.state.carry), jax.tree.leaves(state.carry), strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(UsageError, match="LanguageModel batch -1 is not allowed; must be an integer, at least 0"):
        init_state(model, -1)


def test_a_state_of_other_rows(model):
    with pytest.raises(UsageError, match="2 prompts do not fit a state of 3 rows; give one per row"):
        prefill(model, PROMPT, state=init_state(model, 3))
