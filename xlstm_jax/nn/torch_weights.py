"""Conversion from and to PyTorch's torch.nn.LSTM, GRU and RNN, with all their options.

PyTorch has two biases per gate; our cells have their sum. The GRU's candidate keeps both (`recurrent_bias`), because
the reset gate multiplies the second one. Matrices are transposed; gates have the same order.
"""

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

from xlstm_jax.errors import UsageError

if TYPE_CHECKING:
    from xlstm_jax.nn.recurrent import Recurrent

# Options of a layer that PyTorch's layers support, by attribute.
PLAIN = {"merge": "concat", "residual": False, "dropout_kind": "between_layers", "starts": None}
# Options of a cell's config for which PyTorch supports one value only.
FORMS = {"gru": {"reset": "after"}}


def from_torch(cls, module: Any, *, dtype: jnp.dtype = jnp.float32, implementation: str | None = None) -> "Recurrent":
    """A layer with the weights of a `torch.nn.LSTM`, `GRU` or `RNN`. Its x is [B, T, D], whatever `batch_first` is.

    A module with `proj_size` becomes the cell "lstm_projected". `dtype` is that of products and outputs.

    Raises:
        UsageError: `module` is none of these.
    """
    names = {"LSTM": "lstm", "GRU": "gru", "RNN_TANH": "rnn", "RNN_RELU": "rnn"}
    mode = getattr(module, "mode", None)
    if mode not in names:
        raise UsageError(f"from_torch takes torch.nn.LSTM, GRU or RNN, got {type(module).__name__}")
    cell, features, options = names[mode], module.hidden_size, {"bias": module.bias}
    if mode == "GRU":
        options["recurrent_bias"] = module.bias
    if cell == "rnn":
        options["activation"] = module.nonlinearity
    if module.proj_size:
        cell, features, options["cell_features"] = "lstm_projected", module.proj_size, module.hidden_size
    layer = cls(
        cell,
        module.input_size,
        features,
        num_layers=module.num_layers,
        bidirectional=module.bidirectional,
        dropout=module.dropout,
        dtype=dtype,
        implementation=implementation,
        rngs=nnx.Rngs(0),
        **options,
    )
    for weights, suffix in _suffixed(layer):
        given = {
            name.removesuffix(suffix): _array(value)
            for name, value in module.named_parameters()
            if name.endswith(suffix) and name.removesuffix(suffix) in _NAMES
        }
        for name, value in _ours(given, cell).items():
            weights[name] = nnx.Param(jnp.asarray(value))
    return layer


def to_torch(self: "Recurrent") -> Any:
    """The layer as a `torch.nn` module with `batch_first=True`.

    Raises:
        UsageError: PyTorch has no such layer; the message names the unsupported option.
    """
    import torch

    modules = {"rnn": torch.nn.RNN, "lstm": torch.nn.LSTM, "lstm_np": torch.nn.LSTM, "gru": torch.nn.GRU}
    modules["lstm_projected"] = torch.nn.LSTM
    config = self.configs[0]
    if self.cell_name not in modules:
        raise UsageError(f"PyTorch has no {self.cell_name}; to_torch takes {', '.join(modules)}")
    for name, wanted in PLAIN.items():
        if getattr(self, name) != wanted and not (name == "merge" and not self.bidirectional):
            shown = "learned_carry" if name == "starts" else f"{name}={getattr(self, name)!r}"
            raise UsageError(f"PyTorch's layers have no {shown}")
    for name, wanted in FORMS.get(self.cell_name, {}).items():
        if getattr(config, name) != wanted:
            raise UsageError(f"PyTorch's {self.cell_name} has {name}={wanted!r}, not {getattr(config, name)!r}")
    if getattr(config, "recurrent_bias", False) and not config.bias:
        raise UsageError("PyTorch's gru has both biases or none; recurrent_bias=True needs bias=True")
    options = {"nonlinearity": config.activation} if self.cell_name == "rnn" else {}
    hidden = config.features
    if self.cell_name == "lstm_projected":
        hidden, options["proj_size"] = config.units, config.features
        if hidden <= config.features:
            raise UsageError(
                f"PyTorch's proj_size must be below hidden_size; got features {config.features}, cell_features {hidden}"
            )
    module = modules[self.cell_name](
        config.in_features,
        hidden,
        num_layers=len(self.configs),
        bias=config.bias,
        batch_first=True,
        dropout=self.dropout.rate if len(self.configs) > 1 else 0.0,
        bidirectional=self.bidirectional,
        dtype=torch.tensor(np.asarray(self.layers[0]["w_x"][...])[:0]).dtype,
        **options,
    )
    with torch.no_grad():
        for weights, suffix in _suffixed(self):
            for name, value in _theirs({k: np.asarray(w[...]) for k, w in weights.items()}).items():
                getattr(module, name + suffix).copy_(torch.tensor(value))
    return module


def _array(parameter) -> np.ndarray:
    """A NumPy copy; float32 for dtypes that NumPy lacks (bfloat16)."""
    parameter = parameter.detach().cpu()
    return np.array((parameter.float() if parameter.element_size() < 4 else parameter).numpy())


_NAMES = {"weight_ih": "w_x", "weight_hh": "w_h", "weight_hr": "w_p", "bias_ih": "b", "bias_hh": "b"}


def _suffixed(layer: "Recurrent"):
    """Each layer's weights, direction by direction, with the suffix of their names in PyTorch."""
    for number, weights in enumerate(layer.layers):
        yield weights, f"_l{number}"
    for number, weights in enumerate(layer.backward_layers or ()):
        yield weights, f"_l{number}_reverse"


def _ours(given: dict[str, np.ndarray], cell: str) -> dict[str, np.ndarray]:
    weights = {_NAMES[name]: value.T for name, value in given.items() if value.ndim == 2}
    if "bias_ih" in given:
        weights["b"] = given["bias_ih"] + given["bias_hh"]
        if cell == "gru":
            behind = 2 * len(given["bias_hh"]) // 3
            weights["b"][behind:] = given["bias_ih"][behind:]
            weights["b_r"] = given["bias_hh"][behind:]
    return weights


def _theirs(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    given = {"weight_ih": weights["w_x"].T, "weight_hh": weights["w_h"].T}
    if "w_p" in weights:
        given["weight_hr"] = weights["w_p"].T
    if "b" in weights:
        given["bias_ih"], given["bias_hh"] = weights["b"], np.zeros_like(weights["b"])
        if "b_r" in weights:
            given["bias_hh"][-len(weights["b_r"]) :] = weights["b_r"]
    return given
