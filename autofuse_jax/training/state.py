"""The state of training: arrays only, so that it can be donated, sharded and saved as it is."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from autofuse_jax.methods.base import Method, Params, split_params


@flax.struct.dataclass
class TrainState:
    """Everything that a training step changes, and the key its randomness comes from.

    Attributes:
        step: Number of steps done, int32 scalar.
        params: Parameters of the method.
        optimizer: Optimiser state by objective name.
        key: Data of the random key of the run, uint32; step n uses `fold_in(key, n)`.
        average: Moving average of the parameters, see `optimizers.averaged`; None where none is kept.
    """

    step: jax.Array
    params: Params
    optimizer: dict[str, Any]
    key: jax.Array
    average: Params | None = None

    @property
    def evaluated(self) -> Params:
        """The parameters that are validated and released: the average where there is one."""
        return self.params if self.average is None else self.average


def create_train_state(
    method: Method,
    optimizer: optax.GradientTransformation,
    phases: tuple[str, ...],
    shape: tuple[int, int, int],
    key: jax.Array,
    *,
    average: bool = False,
) -> TrainState:
    """Make the state at step 0.

    Args:
        method: The registration method.
        optimizer: Optimiser of each objective's parameters, with a state for each.
        phases: Names of all phases, whose objectives need optimiser states.
        shape: (D, H, W) of the images.
        key: Random key of the initial parameters and of all later draws.
        average: Whether a moving average of the parameters is kept; default False.

    Returns:
        The state. Call under `jax.jit` with output shardings to build it where it will live, or under
        `jax.eval_shape` for its structure.
    """
    init_key, run_key = jax.random.split(key)
    params = method.init(init_key, shape)
    objectives = {objective.name: objective for phase in phases for objective in method.objectives(phase)}
    states = {name: optimizer.init(split_params(params, o.trains)[0]) for name, o in objectives.items()}
    # A copy: the state is donated, and no buffer can be donated twice.
    start_average = jax.tree.map(jnp.copy, params) if average else None
    return TrainState(jnp.zeros((), jnp.int32), params, states, jax.random.key_data(run_key), start_average)
