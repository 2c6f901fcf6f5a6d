"""Which options of `register` mean nothing without others."""

import argparse

from autofuse_jax.choices import AFFINE, NONE
from autofuse_jax.commands.needs import Need

# What the optimisation of the deformation alone looks at.
OF_THE_DEFORMATION = (
    'shrink',
    'steps',
    'smoothness',
    'trust',
    'jacobian',
    'inverse_weight',
    'ncc_window',
    'learning_rate',
    'guide_weight',
    'guide_points_weight',
)


def _aligned(options: argparse.Namespace) -> bool:
    """Whether a linear map is sought; of a series only where the user says so."""
    return (options.align or (NONE if options.reference_frame is not None else AFFINE)) != NONE


def _classes_guide(options: argparse.Namespace) -> bool:
    """Whether label maps guide, or a network may, which does so by itself where it segments."""
    network = options.weights is not None and options.guide != NONE
    return network or options.fixed_guide is not None or options.moving_guide is not None


NEEDS = (
    Need(('part', 'together'), lambda options: options.pairs is not None, 'without --pairs', 'add --pairs FILE'),
    Need(
        ('initial_convention',),
        lambda options: bool(options.initial),
        'without --initial',
        'add --initial T, or leave it out',
    ),
    Need(OF_THE_DEFORMATION, lambda options: options.deform, 'together with --no-deform'),
    Need(
        ('similarity',),
        lambda options: options.deform or _aligned(options),
        'and nothing is aligned or deformed',
        'leave it out, or seek a linear map (--align=affine) or a deformation',
    ),
    Need(
        ('spacing', 'samples'),
        lambda options: options.deform or options.weights is not None,
        'together with --no-deform and without --weights',
        'leave it out',
    ),
    Need(
        ('trust', 'gate_maps'),
        lambda options: options.weights is not None,
        'without a network',
        'add --weights, or leave it out',
    ),
    Need(
        ('guide_weight',),
        _classes_guide,
        'without label maps or a network that guide',
        'add --fixed-guide and --moving-guide, or leave it out',
    ),
    Need(
        ('guide_points_weight',),
        lambda options: options.guide_points is not None,
        'without points that guide',
        'add --guide-points FIXED MOVING, or leave it out',
    ),
)
