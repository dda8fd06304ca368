"""The contract that every cell keeps, and the registry of cells."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.checks import check_config
from xlstm_jax.registry import Registry
from xlstm_jax.shapes import state_dtype

RecurrentInit = Literal["orthogonal", "identity", "glorot", "uniform"]

CELLS: Registry[type["Cell"]] = Registry("cell", package="xlstm_jax.cells")


class Cell:
    """One cell: a namespace of pure functions.

    A cell is time-parallel work (`project`, all that does not need the carry) apart from the recurrence (`step`):
    the first runs once for all T, which is what makes scans fast; the second runs inside the scan.

        params = init(key, config)                   config: the cell's frozen dataclass
        carry  = init_carry(config, batch_shape)     carry: a NamedTuple, leaves [*batch_shape, ...]
        u      = project(params, x_BTD)              any pytree with leaves [B, T, ...]; from x [T, B, ...] likewise
        carry, y = step(params, carry, u_t)          u_t: leaves [B, ...]; y: [B, features]

    `SplitCell` and `LinearCell` say more about the step, and get faster ways to run over time for it. A cell of kind
    "tree" reduces a node's children instead (`cells.treelstm`).
    """

    Config: ClassVar[type]
    kind: ClassVar[str] = "sequence"
    undecayed: ClassVar[tuple[str, ...]] = ()  # weights of several axes that weight decay leaves alone, such as biases
    init: ClassVar[Any]
    init_carry: ClassVar[Any]
    step: ClassVar[Any]

    @staticmethod
    def input_sizes(config: Any) -> dict[str, int]:
        """The axes of one row's input at one step, by letter."""
        return {"D": config.in_features}

    @classmethod
    def project(cls, params: "CellParams", x_BTD: jax.Array) -> Any:
        """x w_x + b, unless the cell says otherwise; without b where there is none."""
        return affine(x_BTD, params["w_x"], params.get("b"))


class SplitCell(Cell):
    """A cell that feeds its output back through linear maps that come before everything else in the step.

        h = feedback(carry)                            any pytree; the carry's output unless the cell says otherwise
        v = recur(params, h)                           the recurrent products (and their bias), over any leading axes;
                                                       h w_h unless the cell says otherwise
        carry, y = update(inner, carry, u_t, v)        the rest; `inner` are the weights that the class names there

    `additive` says that `update` sees u_t and v as their sum alone.

    So the gradients of the recurrent weights need no accumulator inside the backward loop (`ops.recurrence.chunked`),
    and dropout has a place to act on h alone.
    """

    inner: ClassVar[tuple[str, ...]] = ()
    additive: ClassVar[bool] = False
    update: ClassVar[Any]

    @staticmethod
    def feedback(carry: Any) -> Any:
        return output_of(carry)

    @classmethod
    def recur(cls, params: "CellParams", h: Any) -> Any:
        return recurrent_dot(h, params["w_h"])

    @classmethod
    def self_weights(cls, params: "CellParams") -> jax.Array | None:
        """[G F], the weights by which each feature of h enters its own G pre-activations; None if `update` mixes
        features."""
        return None

    @classmethod
    def step(cls, params: "CellParams", carry: Any, u: Any) -> tuple[Any, jax.Array]:
        return cls.update(params.only(cls.inner), carry, u, cls.recur(params, cls.feedback(carry)))


class LinearCell(Cell):
    """A cell whose carry enters its own step by one factor a feature, so that all steps can be taken in parallel.

    a, b = coefficients(params, u_t)     trees like the carry; from u [B, T, ...] likewise
    carry' = a carry + b
    y = output(carry')                   over any leading axes
    rest = lost(params, u_t)             a tree like a, without gradient: the exact factor is a + rest; zeros unless the
                                         cell says otherwise

    A factor just below 1 is rounded in the same direction at every step, and in a long sequence that adds up: `step`
    makes up for it.
    """

    coefficients: ClassVar[Any]
    output: ClassVar[Any]

    @classmethod
    def lost(cls, params: "CellParams", u: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, cls.coefficients(params, u)[0])

    @classmethod
    def step(cls, params: "CellParams", carry: Any, u: Any) -> tuple[Any, jax.Array]:
        (a, b), rest = cls.coefficients(params, u), cls.lost(params, u)

        def after(a, rest, h, b):
            a, rest, b = (part.astype(h.dtype) for part in (a, rest, b))
            return a * h + (rest * h + b)

        carry = jax.tree.map(after, a, rest, carry, b)
        return carry, cls.output(carry)


@dataclasses.dataclass(frozen=True)
class RecurrentConfig:
    """Sizes and starting values of a cell with dense maps of x and of its fed-back output.

    `bias` off leaves b out. `recurrent_init` is how each gate's recurrent matrix starts: "orthogonal" (Saxe et al.
    2014), "identity" (Le et al. 2015), "glorot" (uniform, Glorot & Bengio 2010) or "uniform" in +-1/sqrt(features).
    """

    in_features: int
    features: int
    bias: bool = True
    recurrent_init: RecurrentInit = "orthogonal"

    def __post_init__(self):
        check_config(self)


@jax.tree_util.register_pytree_with_keys_class
class CellParams(Mapping):
    """Weights of one cell by name; the config that shaped them rides along as static data.

    So `step(params, carry, u)` knows its options under `jit` and `scan`, and gradients have the same type.
    """

    def __init__(self, config: Any, weights: Mapping[str, jax.Array]):
        self.config = config
        self._weights = dict(weights)

    def __getitem__(self, name: str) -> jax.Array:
        return self._weights[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._weights)

    def __len__(self) -> int:
        return len(self._weights)

    def __repr__(self) -> str:
        return f"CellParams({self.config}, {self._weights})"

    def only(self, names: tuple[str, ...]) -> "CellParams":
        """Those of the given names that are there."""
        return CellParams(self.config, {name: self[name] for name in names if name in self})

    def astype(self, dtype: jnp.dtype) -> "CellParams":
        """All weights in another dtype."""
        return CellParams(self.config, {name: weight.astype(dtype) for name, weight in self.items()})

    def tree_flatten_with_keys(self):
        names = tuple(sorted(self._weights))
        return [(jax.tree_util.DictKey(name), self._weights[name]) for name in names], (self.config, names)

    @classmethod
    def tree_unflatten(cls, static, leaves):
        config, names = static
        return cls(config, zip(names, leaves, strict=True))


class HiddenCarry(NamedTuple):
    """Carry of a cell whose output is all it remembers."""

    h: jax.Array  # [B, F]
    output_field = "h"

    @staticmethod
    def zeros(config: Any, batch_shape: tuple[int, ...]) -> "HiddenCarry":
        """Before the first step."""
        return HiddenCarry(jnp.zeros((*batch_shape, config.features), jnp.float32))


def output_field(carry: Any) -> str:
    """The field of a carry that is the cell's output; "" if a stabiliser scales the carry's numbers.

    The class of a carry in plain scale declares it: `output_field = "h"`. Newton's method, zoneout and learned carries
    need such a carry.
    """
    return getattr(type(carry), "output_field", "")


def output_of(carry: Any) -> jax.Array:
    """The output that a carry in plain scale holds."""
    return getattr(carry, output_field(carry))


def affine(x: jax.Array, w: jax.Array, b: jax.Array | None) -> jax.Array:
    """x @ w + b: [..., D] x [D, E] -> [..., E]; without a bias where b is None."""
    y = x @ w
    return y if b is None else add_bias(y, b)


def add_bias(y: jax.Array, b: jax.Array) -> jax.Array:
    """y + b along the last axis, added wide: the bias's gradient is a long sum, which bfloat16 would lose digits of."""
    wide = state_dtype(y)
    return (y.astype(wide) + jnp.broadcast_to(b.astype(wide), y.shape)).astype(y.dtype)


def recurrent_dot(h: jax.Array, w: jax.Array) -> jax.Array:
    """h @ w in the weight's dtype, summed in the carry's: [..., D] x [D, E] -> [..., E]."""
    return jnp.dot(h.astype(w.dtype), w, preferred_element_type=h.dtype)


def block_diagonals(w: jax.Array) -> jax.Array:
    """Of square matrices side by side, [F, G F], their diagonals one after the other, [G F]."""
    blocks_FGF = w.reshape(w.shape[0], -1, w.shape[0])
    return jnp.diagonal(blocks_FGF, axis1=0, axis2=2).reshape(-1)


def gate_weights(
    key: jax.Array, config: RecurrentConfig, gates: int, *, inputs: int | None = None, units: int | None = None
) -> dict[str, jax.Array]:
    """Weights of `gates` pre-activations x W_x + h W_h + b, side by side along the last axis.

    w_x [in_features, gates * units] LeCun normal; w_h [inputs, gates * units] by `config.recurrent_init`, gate by gate;
    b [gates * units] zero. `inputs` is the width of h, `units` that of a gate; both are `config.features` by default.
    """
    inputs, units = inputs or config.features, units or config.features
    key_x, key_h = jax.random.split(key)
    init = _RECURRENT_INITS[config.recurrent_init]
    blocks = [init(k, (inputs, units), jnp.float32) for k in jax.random.split(key_h, gates)]
    weights = {
        "w_x": jax.nn.initializers.lecun_normal()(key_x, (config.in_features, gates * units), jnp.float32),
        "w_h": jnp.concatenate(blocks, axis=1),
    }
    return weights | ({"b": jnp.zeros((gates * units,), jnp.float32)} if config.bias else {})


def _uniform(key, shape, dtype):
    bound = shape[1] ** -0.5
    return jax.random.uniform(key, shape, dtype, -bound, bound)


_RECURRENT_INITS = {
    "orthogonal": jax.nn.initializers.orthogonal(),
    "identity": lambda _, shape, dtype: jnp.eye(*shape, dtype=dtype),
    "glorot": jax.nn.initializers.glorot_uniform(),
    "uniform": _uniform,
}
