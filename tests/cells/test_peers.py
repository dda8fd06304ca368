"""Cells compared with other libraries' layers with the same weights, in float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from xlstm_jax.cells import CELLS
from xlstm_jax.ops.recurrence import recurrence

pytestmark = pytest.mark.peers

B, T, D, F, C = 2, 5, 3, 4, 7
CLOSE = 1e-12


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="torch is not installed")


def filled(tree, seed):
    """The tree with its arrays replaced by normal random numbers in float64."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(0.6 * rng.standard_normal(leaf.shape), np.float64), tree)


def weights_of(cell, config):
    return filled(jax.eval_shape(lambda: cell.init(jax.random.key(0), config)), 0)


# By name: cell, options of the cell, PyTorch layer, and options of that layer.
LAYERS = {
    "rnn-tanh": ("rnn", {"activation": "tanh"}, "RNN", {"nonlinearity": "tanh"}),
    "rnn-relu": ("rnn", {"activation": "relu"}, "RNN", {"nonlinearity": "relu"}),
    "lstm": ("lstm", {}, "LSTM", {}),
    "gru": ("gru", {"recurrent_bias": True}, "GRU", {}),
    "lstm_projected": ("lstm_projected", {"cell_features": C}, "LSTM", {"hidden_size": C, "proj_size": F}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_torch(name, torch, x64):
    """Outputs, last carry, and gradients of weights, inputs and initial carry, for one layer in one direction."""
    cell, options, layer, layer_options = LAYERS[name]
    cell = CELLS.get(cell)
    config = cell.Config(D, F, **options)
    params, x = weights_of(cell, config), filled(jnp.zeros((B, T, D)), 1)
    carry = filled(cell.init_carry(config, (B,)), 2)
    (y, last), pullback = jax.vjp(lambda *args: recurrence(cell, args[0], args[1], carry=args[2]), params, x, carry)
    dy, dlast = filled((y, last), 3)
    dparams, dx, dcarry = pullback((dy, dlast))

    def tensor(array, **kwargs):
        return torch.tensor(np.asarray(array), **kwargs)

    def states(carry):
        """The carry as PyTorch has it: h, or (h, c), with a leading axis for layers."""
        h = tensor(carry.h)[None].requires_grad_()
        return (h, tensor(carry.c)[None].requires_grad_()) if "c" in carry._fields else (h,)

    module = getattr(torch.nn, layer)(**{"input_size": D, "hidden_size": F, "batch_first": True, **layer_options})
    module = module.double()
    # PyTorch has two biases. Ours is the first one, except for the part that the reset gate scales.
    recurrent_bias = np.zeros_like(params["b"])
    if "b_r" in params:
        recurrent_bias[-F:] = params["b_r"]
    copied = {
        "weight_ih_l0": params["w_x"].T,
        "weight_hh_l0": params["w_h"].T,
        "bias_ih_l0": params["b"],
        "bias_hh_l0": recurrent_bias,
    }
    if "w_p" in params:
        copied["weight_hr_l0"] = params["w_p"].T
    module.load_state_dict({key: tensor(value) for key, value in copied.items()})
    their_x, their_carry = tensor(x).requires_grad_(), states(carry)
    their_y, their_last = module(their_x, their_carry if len(their_carry) == 2 else their_carry[0])
    their_last = their_last if isinstance(their_last, tuple) else (their_last,)
    loss = (their_y * tensor(dy)).sum()
    for theirs, ours in zip(their_last, states(dlast), strict=True):
        loss = loss + (theirs * ours.detach()).sum()
    loss.backward()

    def assert_close(ours, theirs):
        np.testing.assert_allclose(ours, theirs.detach().numpy(), rtol=CLOSE, atol=CLOSE)

    assert_close(y, their_y)
    assert_close(dx, their_x.grad)
    for theirs, ours in zip(their_last, states(last), strict=True):
        assert_close(ours.detach().numpy(), theirs)
    for theirs, ours in zip(their_carry, states(dcarry), strict=True):
        assert_close(ours.detach().numpy(), theirs.grad)
    gradients = {key: parameter.grad for key, parameter in module.named_parameters()}
    assert_close(dparams["w_x"].T, gradients["weight_ih_l0"])
    assert_close(dparams["w_h"].T, gradients["weight_hh_l0"])
    assert_close(dparams["b"], gradients["bias_ih_l0"])
    if "b_r" in params:
        assert_close(dparams["b_r"], gradients["bias_hh_l0"][-F:])
    if "w_p" in params:
        assert_close(dparams["w_p"].T, gradients["weight_hr_l0"])


@pytest.mark.parametrize("shape", [(5,), (4, 3)], ids=["1-D", "2-D"])
def test_flax_convlstm(shape, x64):
    """Flax has the order i, z, f, o, a bias for each convolution, and adds 1 to the forget gate's pre-activation."""
    linen = pytest.importorskip("flax.linen")
    cell = CELLS.get("convlstm")
    config = cell.Config(D, F, shape)
    params, x = weights_of(cell, config), filled(jnp.zeros((B, T, *shape, D)), 1)
    carry = filled(cell.init_carry(config, (B,)), 2)
    y, last = recurrence(cell, params, x, carry=carry)

    def reordered(w):
        i, f, z, o = np.split(np.asarray(w), 4, axis=-1)
        return np.concatenate([i, z, f, o], axis=-1)

    forget = np.repeat([0.0, 0.0, 1.0, 0.0], F)
    variables = {
        "ih": {"kernel": reordered(params["w_x"]), "bias": reordered(params["b"]) - forget},
        "hh": {"kernel": reordered(params["w_h"]), "bias": np.zeros(4 * F)},
    }
    layer = linen.ConvLSTMCell(F, kernel_size=(3,) * len(shape))
    state, outputs = (carry.c, carry.h), []
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        step = jax.jit(lambda state, x_t: layer.apply({"params": variables}, state, x_t))
        for t in range(T):
            state, y_t = step(state, x[:, t])
            outputs.append(y_t)
    np.testing.assert_allclose(y, np.stack(outputs, axis=1), rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose(last.c, state[0], rtol=CLOSE, atol=CLOSE)
    np.testing.assert_allclose(last.h, state[1], rtol=CLOSE, atol=CLOSE)
