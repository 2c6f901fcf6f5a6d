"""The optimiser and its learning rate schedule."""

import optax

from autofuse_jax.errors import UserError

SCHEDULES = ('constant', 'cosine')


def make_schedule(
    learning_rate: float,
    *,
    schedule: str = 'constant',
    warmup_steps: int = 0,
    total_steps: int,
    final_fraction: float = 0.0,
) -> optax.Schedule:
    """Return the learning rate as a function of the step.

    Args:
        learning_rate: Highest value, positive.
        schedule: 'constant' (the paper) or 'cosine', which falls to `final_fraction` of it at the last step.
        warmup_steps: Steps over which it rises linearly from zero; default 0.
        total_steps: Length of training, all phases together.
        final_fraction: Last value of the cosine schedule as a fraction of the highest; default 0.

    Returns:
        step -> learning rate.

    Raises:
        UserError: The schedule is unknown.
    """
    if schedule not in SCHEDULES:
        raise UserError(f'optimizer.schedule is {schedule!r}', expected=f'one of {", ".join(SCHEDULES)}')
    after = max(total_steps - warmup_steps, 1)
    main = (
        optax.constant_schedule(learning_rate)
        if schedule == 'constant'
        else optax.cosine_decay_schedule(learning_rate, after, alpha=final_fraction)
    )
    if not warmup_steps:
        return main
    return optax.join_schedules([optax.linear_schedule(0.0, learning_rate, warmup_steps), main], [warmup_steps])


def make_optimizer(schedule: optax.Schedule, *, clip_norm: float = 0.0) -> optax.GradientTransformation:
    """Return Adam (beta 0.9 and 0.999, epsilon 1e-8), optionally after clipping the gradient's global norm.

    Args:
        schedule: Learning rate as a function of the step.
        clip_norm: Largest gradient norm; 0 (default) means no clipping.

    Returns:
        The gradient transformation.

    Reference:
        Kingma and Ba, ICLR 2015; the paper uses a constant rate of 1e-4 (section 4.2).
    """
    adam = optax.adam(schedule)
    return optax.chain(optax.clip_by_global_norm(clip_norm), adam) if clip_norm else adam
