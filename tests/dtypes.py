"""The dtypes in which a program computes."""

import jax
import jax.numpy as jnp


def dtypes_inside(jaxpr) -> set:
    """Dtypes of all floating-point results of its operations, at any depth, except constants such as a zero start."""
    found = set()
    for eqn in jaxpr.eqns:
        inner = [leaf for leaf in jax.tree.leaves(eqn.params, is_leaf=_is_jaxpr) if _is_jaxpr(leaf)]
        constant = eqn.primitive.name == "broadcast_in_dim" and not eqn.invars[0].aval.shape
        if not inner and not constant:
            found |= {v.aval.dtype for v in eqn.outvars if v.aval.ndim and jnp.issubdtype(v.aval.dtype, jnp.floating)}
        found = found.union(*map(dtypes_inside, inner))
    return found


def _is_jaxpr(value) -> bool:
    return hasattr(value, "eqns")
