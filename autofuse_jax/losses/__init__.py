"""Training objectives as pure functions of one sample; batch them with `jax.vmap` and average."""

from autofuse_jax.losses.overlap import dice_loss, focal_dice_loss, focal_loss
from autofuse_jax.losses.regularity import negative_jacobian_loss, velocity_kl
from autofuse_jax.losses.similarity import local_ncc

__all__ = ['dice_loss', 'focal_dice_loss', 'focal_loss', 'local_ncc', 'negative_jacobian_loss', 'velocity_kl']
