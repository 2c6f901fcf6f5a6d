"""Versions of all methods that are small enough to learn one pair of 32 x 32 x 32 voxels quickly on one core."""

from typing import Any

from autofuse_jax.errors import UserError

Options = dict[str, Any]
# Spheres have no texture to hold a field back: what they need is less smoothness than anatomy.
SMOOTHNESS = {'smoothness': 0.1}
PRIOR = {'prior_lambda': 10.0}
TWO_CLASSES = {'num_classes': 2}
SWIN = {'embed_dim': 8, 'depths': (1, 1, 1, 1), 'num_heads': (1, 1, 2, 2), 'window': (2, 2, 2), 'drop_path': 0.0}
SMALLER_DECODER = ((8,), (8,), (8,), (8, 8))
SMALLER_EMBEDDING = {'widths': (4, 8, 8, 8, 8), 'token_width': 16, 'depth': 1, 'num_heads': 2}
# Method: options of its network and of its objective.
TINY: dict[str, tuple[Options, Options]] = {
    'autofuse': ({'base_channels': 4, 'large_kernel': False} | TWO_CLASSES, {}),
    'autofuse_trans': ({'base_channels': 8, 'depth': 1, 'window': (2, 2, 2), 'large_kernel': False}, {}),
    'voxelmorph': ({'base_channels': 8}, SMOOTHNESS),
    'voxelmorph_diff': ({'base_channels': 8}, PRIOR),
    'ws_voxelmorph': ({'base_channels': 8}, SMOOTHNESS | TWO_CLASSES),
    'lku_net': ({'channels': 4}, SMOOTHNESS),
    'sen': ({'base_channels': 2, 'displacement_range': 20.0}, SMOOTHNESS),
    'transmorph': (SWIN | {'head_channels': 8}, SMOOTHNESS),
    'transmatch': (SWIN | {'cross_heads': 2}, SMOOTHNESS),
    'dtn': (SMALLER_EMBEDDING | {'decoder_widths': SMALLER_DECODER}, SMOOTHNESS),
    'xmorpher': ({'embed_dim': 16, 'depths': (1, 1), 'num_heads': (1, 2), 'drop_path': 0.0}, {'smoothness': 0.05}),
    'early_fuse': ({'base_channels': 4}, {}),
    'mid_fuse': ({'base_channels': 4}, {}),
    'late_fuse': ({'base_channels': 4}, {}),
    'multi_fuse': ({'base_channels': 4}, {}),
    'rsegnet': ({'base_channels': 8} | TWO_CLASSES, PRIOR),
    'jpr_net': ({'base_channels': 4} | TWO_CLASSES, SMOOTHNESS),
    'pc_reg': ({'base_channels': 4} | TWO_CLASSES, SMOOTHNESS),
    'gl_net': ({'base_channels': 4} | TWO_CLASSES, SMOOTHNESS),
    'ac_dmir': ({'base_channels': 4} | TWO_CLASSES, SMOOTHNESS),
}


def tiny_options(name: str, size: int) -> tuple[Options, Options]:
    """Return the options of the small version of a method.

    Args:
        name: A key of `autofuse_jax.methods.registry.METHODS`.
        size: Voxels along each axis of the cube that it will see.

    Returns:
        Options of its network and of its objective.

    Raises:
        UserError: There is no small version.
    """
    if name not in TINY:
        raise UserError(f'there is no small version of {name}', expected=f'one of {", ".join(TINY)}')
    model, loss = TINY[name]
    # A parameter for each position.
    return (model | {'size': (size,) * 3} if name == 'dtn' else model), loss
