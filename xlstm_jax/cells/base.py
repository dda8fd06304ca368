"""The cell interface and the registry of cells."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import jax.numpy as jnp

from xlstm_jax.checks import check_config
from xlstm_jax.errors import UsageError
from xlstm_jax.registry import Registry
from xlstm_jax.shapes import state_dtype

RecurrentInit = Literal["orthogonal", "identity", "glorot", "uniform"]

CELLS: Registry[type["Cell"]] = Registry("cell", package="xlstm_jax.cells")


class Cell:
    """One cell: a namespace of pure functions.

    A cell separates the work that does not need the carry (`project`) from the recurrence (`step`). `project` runs once
    for all T, which makes scans fast; `step` runs inside the scan.

        params = init(key, config)                   config: the cell's frozen dataclass
        carry  = init_carry(config, batch_shape)     carry: a NamedTuple, leaves [*batch_shape, ...]
        u      = project(params, x_BTD)              any pytree with leaves [B, T, ...]; also accepts x [T, B, ...]
        carry, y = step(params, carry, u_t)          u_t: leaves [B, ...]; y: [B, features]

    `SplitCell` and `LinearCell` expose more of the step's structure, which enables faster ways to run over time. A cell
    of kind "tree" reduces a node's children instead (`cells.treelstm`).
    """

    Config: ClassVar[type]
    kind: ClassVar[str] = "sequence"
    parts: ClassVar[int] = 1  # equal parts of a step's input with meanings of their own, such as values and their mask
    undecayed: ClassVar[tuple[str, ...]] = ()  # weights of several axes that weight decay leaves alone, such as biases
    init: ClassVar[Any]
    init_carry: ClassVar[Any]
    step: ClassVar[Any]

    @staticmethod
    def input_sizes(config: Any) -> dict[str, int]:
        """Sizes of the axes of one row's input at one step, by axis letter."""
        return {"D": config.in_features}

    @classmethod
    def project(cls, params: "CellParams", x_BTD: jax.Array) -> Any:
        """x w_x + b, or x w_x if the cell has no bias. Cells may override it."""
        return affine(x_BTD, params["w_x"], params.get("b"))


class SplitCell(Cell):
    """A cell whose step begins with linear maps of its fed-back output.

        h = feedback(carry)                            any pytree; the carry's output by default
        v = recur(params, h)                           the recurrent products (and their bias), over any leading axes;
                                                       h w_h by default
        carry, y = update(inner, carry, u_t, v)        the rest; `inner` holds the weights named in the class attribute

    `additive` declares that `update` uses only the sum of u_t and v.

    With this split the gradients of the recurrent weights need no accumulator inside the backward loop
    (`ops.recurrence.chunked`), and dropout can act on h only.
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
        """[G F], the weights from each feature of h to its own G pre-activations; None if `update` mixes features."""
        return None

    @classmethod
    def step(cls, params: "CellParams", carry: Any, u: Any) -> tuple[Any, jax.Array]:
        return cls.update(params.only(cls.inner), carry, u, cls.recur(params, cls.feedback(carry)))


class LinearCell(Cell):
    """A cell whose step is linear in its carry, feature by feature, so all steps can run in parallel.

    a, b = coefficients(params, u_t)     trees like the carry; also accepts u [B, T, ...]
    carry' = a carry + b
    y = output(carry')                   over any leading axes
    rest = lost(params, u_t)             a tree like a, without gradient: the exact factor is a + rest; zeros by default

    A factor just below 1 is rounded in the same direction at every step. In a long sequence the errors add up, so
    `step` corrects for them with `rest`.
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
    """Sizes and initialisation of a cell with dense maps of x and of its fed-back output.

    With `bias` off the cell has no b. `recurrent_init` initialises each gate's recurrent matrix: "orthogonal" (Saxe et
    al. 2014), "identity" (Le et al. 2015), "glorot" (uniform, Glorot & Bengio 2010) or "uniform" in
    +-1/sqrt(features).
    """

    in_features: int
    features: int
    bias: bool = True
    recurrent_init: RecurrentInit = "orthogonal"

    def __post_init__(self):
        check_config(self)


@jax.tree_util.register_pytree_with_keys_class
class CellParams(Mapping):
    """The weights of one cell by name, with the cell's config as static data.

    `step(params, carry, u)` can therefore read its options under `jit` and `scan`. Gradients have the same type.
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
        """The weights with the given names; missing names are skipped."""
        return CellParams(self.config, {name: self[name] for name in names if name in self})

    def astype(self, dtype: jnp.dtype) -> "CellParams":
        """All weights cast to `dtype`."""
        return CellParams(self.config, {name: weight.astype(dtype) for name, weight in self.items()})

    def tree_flatten_with_keys(self):
        names = tuple(sorted(self._weights))
        return [(jax.tree_util.DictKey(name), self._weights[name]) for name in names], (self.config, names)

    @classmethod
    def tree_unflatten(cls, static, leaves):
        config, names = static
        return cls(config, zip(names, leaves, strict=True))


class HiddenCarry(NamedTuple):
    """Carry of a cell whose only state is its output."""

    h: jax.Array  # [B, F]
    output_field = "h"

    @staticmethod
    def zeros(config: Any, batch_shape: tuple[int, ...]) -> "HiddenCarry":
        """The carry before the first step."""
        return HiddenCarry(jnp.zeros((*batch_shape, config.features), jnp.float32))


def output_field(carry: Any) -> str:
    """The field of a carry that is the cell's output; "" if a stabiliser scales the carry's numbers.

    The class of a carry in plain scale declares it: `output_field = "h"`. Newton's method, zoneout and learned carries
    need such a carry.
    """
    return getattr(type(carry), "output_field", "")


def output_of(carry: Any) -> jax.Array:
    """The output that a carry in plain scale holds.

    Raises:
        UsageError: the class of the carry declares no `output_field`.
    """
    if not (field := output_field(carry)):
        raise UsageError(f"{type(carry).__name__} declares no output; set output_field to the name of its field")
    return getattr(carry, field)


def affine(x: jax.Array, w: jax.Array, b: jax.Array | None) -> jax.Array:
    """x @ w + b: [..., D] x [D, E] -> [..., E]; without a bias if b is None."""
    y = x @ w
    return y if b is None else add_bias(y, b)


def add_bias(y: jax.Array, b: jax.Array) -> jax.Array:
    """y + b along the last axis, in at least float32: the bias's gradient is a long sum that bfloat16 would round."""
    wide = state_dtype(y)
    return (y.astype(wide) + jnp.broadcast_to(b.astype(wide), y.shape)).astype(y.dtype)


def recurrent_dot(h: jax.Array, w: jax.Array) -> jax.Array:
    """h @ w in the dtype of w, accumulated in the dtype of h: [..., D] x [D, E] -> [..., E]."""
    return jnp.dot(h.astype(w.dtype), w, preferred_element_type=h.dtype)


def block_diagonals(w: jax.Array) -> jax.Array:
    """The concatenated diagonals [G F] of G square matrices side by side, [F, G F]."""
    blocks_FGF = w.reshape(w.shape[0], -1, w.shape[0])
    return jnp.diagonal(blocks_FGF, axis1=0, axis2=2).reshape(-1)


def gate_weights(
    key: jax.Array, config: RecurrentConfig, gates: int, *, inputs: int | None = None, units: int | None = None
) -> dict[str, jax.Array]:
    """Weights of `gates` pre-activations x W_x + h W_h + b, concatenated along the last axis.

    w_x [in_features, gates * units] LeCun normal; w_h [inputs, gates * units] by `config.recurrent_init`, gate by gate;
    b [gates * units] zero. `inputs` is the width of h and `units` the width of a gate. Both default to
    `config.features`.
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
