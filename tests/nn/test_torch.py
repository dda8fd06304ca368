"""Conversion of layers from and to PyTorch, compared with PyTorch in float64."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from tests.nn.layers import called, close
from xlstm_jax.errors import UsageError
from xlstm_jax.nn import Directions, Recurrent

torch = pytest.importorskip("torch", reason="compares with PyTorch, which is not installed")
# PyTorch warns once that it has no fast path for a projected LSTM in float32.
pytestmark = [pytest.mark.peers, pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")]

BATCH, TIME, IN, HIDDEN = 3, 5, 4, 5
LENGTHS = [5, 2, 4]
KINDS = {
    "lstm": (torch.nn.LSTM, {}),
    "lstm_projected": (torch.nn.LSTM, {"proj_size": 3}),
    "gru": (torch.nn.GRU, {}),
    "rnn_tanh": (torch.nn.RNN, {"nonlinearity": "tanh"}),
    "rnn_relu": (torch.nn.RNN, {"nonlinearity": "relu"}),
}
# (layout, lengths): every value of every option, and padding with one and two directions.
LAYOUTS = {
    "one": ({"num_layers": 1, "bidirectional": False, "bias": True, "batch_first": True}, None),
    "one-padded": ({"num_layers": 1, "bidirectional": False, "bias": False, "batch_first": False}, LENGTHS),
    "two-padded": ({"num_layers": 2, "bidirectional": True, "bias": True, "batch_first": False}, LENGTHS),
    "two": ({"num_layers": 2, "bidirectional": True, "bias": False, "batch_first": True}, None),
}
NAMES = {"w_x": "weight_ih", "w_h": "weight_hh", "w_p": "weight_hr", "b": "bias_ih", "b_r": "bias_hh"}


def theirs(kind, **layout):
    """A PyTorch module in float64."""
    torch.manual_seed(0)
    module, options = KINDS[kind]
    return module(IN, HIDDEN, **options, **layout).double()


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def arrays(module, seed=1):
    """One array for each state of the module, h and possibly c, in PyTorch's shape [layers * directions, B, F]."""
    stacked = module.num_layers * (1 + module.bidirectional)
    widths = [module.proj_size or module.hidden_size] + [module.hidden_size] * (module.mode == "LSTM")
    return [normal(stacked, BATCH, width, seed=seed + n) for n, width in enumerate(widths)]


def as_carry(states, layer):
    """Our carry from PyTorch's states, which are ordered by layer, with the forward direction first."""
    one = type(layer.init_carry(1)[0].forward if layer.bidirectional else layer.init_carry(1)[0])
    parts = [one(**dict(zip("hc", leaves, strict=False))) for leaves in zip(*map(jnp.asarray, states), strict=True)]
    if layer.bidirectional:
        parts = itertools.starmap(Directions, zip(parts[::2], parts[1::2], strict=True))
    return tuple(parts)


def as_states(carry):
    """The inverse of `as_carry`: h, and c if there is one."""
    parts = [part for entry in carry for part in (entry if isinstance(entry, Directions) else (entry,))]
    return [np.stack([getattr(part, name) for part in parts]) for name in ("h", "c") if hasattr(parts[0], name)]


def run(layer, x):
    """Outputs and carry of our layer."""
    return called(nnx.graphdef(layer))(nnx.to_pure_dict(nnx.state(layer)), x)


def run_theirs(module, x, states, lengths):
    """y [B, T, F], the last states, and the gradient of x for a loss on all of them."""
    given = torch.tensor(x, requires_grad=True)
    states = [torch.tensor(state) for state in states]
    states = tuple(states) if len(states) == 2 else states[0]
    inputs = given if module.batch_first else given.transpose(0, 1)
    if lengths is not None:
        inputs = torch.nn.utils.rnn.pack_padded_sequence(
            inputs, lengths, batch_first=module.batch_first, enforce_sorted=False
        )
    y, last = module(inputs, states)
    if lengths is not None:
        y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=module.batch_first, total_length=TIME)
    y = y if module.batch_first else y.transpose(0, 1)
    last = list(last) if isinstance(last, tuple) else [last]
    sum(leaf.sin().sum() for leaf in [y, *last]).backward()
    return y.detach().numpy(), [state.detach().numpy() for state in last], given.grad.numpy()


def run_ours(layer, x, states, lengths):
    graphdef, params = nnx.split(layer)
    carry, lengths = as_carry(states, layer), None if lengths is None else np.array(lengths)

    @jax.jit
    def run(params, x):
        def loss(params, x):
            y, last = nnx.merge(graphdef, params)(x, carry, lengths)
            return sum(jnp.sum(jnp.sin(leaf)) for leaf in jax.tree.leaves((y, last))), (y, last)

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, x)

    (dparams, dx), (y, last) = run(nnx.to_pure_dict(params), jnp.asarray(x))
    return y, as_states(last), dx, dparams


def assert_gradients(dparams, module):
    """Compares our gradients with PyTorch's. If we have one bias for a gate, PyTorch's two have equal gradients."""
    compared = set()
    for stack, end in (("layers", ""), ("backward_layers", "_reverse")):
        for number, weights in dparams.get(stack, {}).items():
            grads = {n.removesuffix(f"_l{number}{end}"): p.grad.numpy() for n, p in module.named_parameters()}
            for name, dw in weights.items():
                wanted = grads[NAMES[name]].T
                close(dw, wanted[-HIDDEN:] if name == "b_r" else wanted, atol=1e-12)
                compared.add((stack, number, name))
    biases = 1 + (module.mode == "GRU") if module.bias else 0
    kinds = 2 + bool(module.proj_size) + biases
    assert len(compared) == kinds * module.num_layers * (1 + module.bidirectional)


@pytest.mark.parametrize("layout, lengths", LAYOUTS.values(), ids=LAYOUTS)
@pytest.mark.parametrize("kind", KINDS)
def test_values_and_gradients(x64, kind, layout, lengths):
    """Outputs, last states and the gradients of x and of all weights, from a non-zero state."""
    module = theirs(kind, **layout)
    layer = Recurrent.from_torch(module, dtype=jnp.float64)
    x, states = normal(BATCH, TIME, IN), arrays(module)
    y, last, dx = run_theirs(module, x, states, lengths)
    got, carry, grads, dparams = run_ours(layer, x, states, lengths)
    assert got.dtype == jnp.float64
    close((got, carry, grads), (y, last, dx), atol=1e-12)
    assert_gradients(dparams, module)


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(kind):
    """After a round trip the two biases differ, but their sums and the outputs are the same."""
    module = theirs(kind, num_layers=2, bidirectional=True, dropout=0.25, bias=True).float().eval()
    layer = Recurrent.from_torch(module)
    again = layer.to_torch().eval()
    assert again.batch_first and type(again) is type(module)
    options = ("mode", "input_size", "hidden_size", "proj_size", "num_layers", "bidirectional", "bias", "dropout")
    assert [getattr(again, name) for name in options] == [getattr(module, name) for name in options]
    x = normal(BATCH, TIME, IN).astype(np.float32)
    with torch.no_grad():
        y, last = module(torch.tensor(x).transpose(0, 1))
        y_again, last_again = again(torch.tensor(x))
    close((y_again, last_again), (y.transpose(0, 1), last), atol=1e-6)
    close(run(layer, x)[0], y_again.numpy(), atol=1e-6)
    back = Recurrent.from_torch(again)
    close(nnx.to_pure_dict(nnx.state(back)), nnx.to_pure_dict(nnx.state(layer)), atol=0)


@pytest.mark.parametrize("cell", ["lstm", "lstm_np", "gru", "rnn", "lstm_projected"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_layer_made_here_goes_there(cell, bias):
    """By default a GRU has no second bias, and a projected LSTM has four times as many cells as outputs."""
    layer = Recurrent(cell, IN, HIDDEN, num_layers=2, bias=bias, rngs=nnx.Rngs(0))
    module = layer.to_torch()
    assert module.bias == bias and not module.bidirectional and module.proj_size in (0, HIDDEN)
    x = normal(BATCH, TIME, IN).astype(np.float32)
    y, _ = run(layer, x)
    with torch.no_grad():
        close(y, module(torch.tensor(x))[0].numpy(), atol=1e-6)


def test_float64_weights_come_back_as_such(x64):
    module = theirs("gru", num_layers=1, bias=True)
    again = Recurrent.from_torch(module, dtype=jnp.float64).to_torch()
    assert {p.dtype for p in again.parameters()} == {torch.float64}
    for name, weight in module.named_parameters():
        if name.startswith("weight"):
            assert torch.equal(getattr(again, name), weight)


def test_options_are_carried_over():
    module = theirs("gru", num_layers=2, dropout=0.25, bidirectional=True)
    layer = Recurrent.from_torch(module, dtype=jnp.bfloat16, implementation="scan")
    assert (layer.dropout.rate, layer.dropout_kind, layer.merge) == (0.25, "between_layers", "concat")
    assert (layer.dtype, layer.implementation) == (jnp.bfloat16, "scan")
    assert {leaf.dtype for leaf in jax.tree.leaves(nnx.state(layer))} == {jnp.dtype("float32")}
    assert Recurrent("rnn", IN, HIDDEN, merge="sum", rngs=nnx.Rngs(0)).to_torch().dropout == 0  # one direction
    with pytest.warns(UserWarning, match="dropout option adds dropout after all but last"):
        single = theirs("rnn_tanh", num_layers=1, dropout=0.25)
    assert Recurrent.from_torch(single).to_torch().dropout == 0  # otherwise PyTorch would warn again


NO_LAYERS = [torch.nn.Linear(2, 3), torch.nn.LSTMCell(2, 3), torch.nn.EmbeddingBag(2, 3, mode="sum")]


@pytest.mark.parametrize("module", NO_LAYERS, ids=lambda module: type(module).__name__)
def test_modules_that_are_no_layers(module):
    with pytest.raises(UsageError, match=f"takes torch.nn.LSTM, GRU or RNN, got {type(module).__name__}$"):
        Recurrent.from_torch(module)


NOT_IN_PYTORCH = {
    "cell": ({"cell": "mlstm"}, "PyTorch has no mlstm; to_torch takes rnn, lstm, lstm_np, gru, lstm_projected"),
    "merge": ({"merge": "sum", "bidirectional": True}, "no merge='sum'"),
    "residual": ({"residual": True}, "no residual=True"),
    "start": ({"learned_carry": True}, "no learned_carry"),
    "dropout": ({"dropout": 0.5, "dropout_kind": "variational"}, "no dropout_kind='variational'"),
    "reset": ({"cell": "gru", "reset": "before"}, "gru has reset='after', not 'before'"),
    "projection": ({"cell": "lstm_projected", "cell_features": IN}, "proj_size|cell_features"),
    "biases": ({"cell": "gru", "bias": False, "recurrent_bias": True}, "bias"),
}


@pytest.mark.parametrize("options, message", NOT_IN_PYTORCH.values(), ids=NOT_IN_PYTORCH)
def test_layers_that_pytorch_lacks(options, message):
    layer = Recurrent(**{"cell": "lstm", "in_features": IN, "features": IN, **options}, rngs=nnx.Rngs(0))
    with pytest.raises(UsageError, match=message):
        layer.to_torch()
