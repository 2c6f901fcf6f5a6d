"""What keeps the tests of whole networks short: on CPU, compiling takes far longer than running a tiny example."""

import contextlib
from collections.abc import Callable, Iterator
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np

# Options of the compiler come and go; the second, an older way to compile fused loops, was tried with jax 0.10.
HASTE = {'xla_backend_optimization_level': 0} | (
    {'xla_cpu_use_fusion_emitters': False} if jax.__version_info__ < (0, 11) else {}
)
# In float64 XLA writes convolutions as plain loops, which are ten times slower without any optimisation.
SOME_OPTIMISATION = HASTE | {'xla_backend_optimization_level': 1}


def quick_key(seed: int = 0) -> jax.Array:
    """Return a random key whose draws compile several times faster than those of the default kind."""
    return jax.random.key(seed, impl='unsafe_rbg')


def quick_jit(function: Callable, **options) -> Callable:
    """Compile in haste, in a quarter to half the time; `options` are those of `jax.jit`."""
    return jax.jit(function, compiler_options=HASTE, **options)


@contextlib.contextmanager
def hurried() -> Iterator[None]:
    """Compile as `quick_jit` what the library compiles inside the context."""
    real_jit = jax.jit

    def jit(*arguments, **options):
        return real_jit(*arguments, **({'compiler_options': HASTE} | options))

    with mock.patch.object(jax, 'jit', jit):
        yield


def random_params(shapes: dict, seed: int = 0, dtype: jnp.dtype = jnp.float32) -> dict:
    """Fill a parameter tree from `jax.eval_shape` without compiling its initialisers.

    Kernels are normal with variance 1 / fan-in, so that signals keep their size through all layers and every part of
    a network has an effect; biases are normal with deviation 0.1.
    """
    rng = np.random.default_rng(seed)

    def draw(leaf: jax.ShapeDtypeStruct) -> jax.Array:
        scale = np.prod(leaf.shape[:-1]) ** -0.5 if len(leaf.shape) > 1 else 0.1
        return jnp.asarray(scale * rng.normal(size=leaf.shape), dtype)

    return jax.tree.map(draw, shapes)
