"""What the options of `register` ask for: settings, a guide, a network; and which of them do not go together."""

import argparse

from autofuse_jax.choices import AUTO, NETWORK, NONE
from autofuse_jax.deployment.runtime import RuntimeModel
from autofuse_jax.errors import UserError
from autofuse_jax.registration.alignment import AlignmentSettings
from autofuse_jax.registration.composites import COMPOSITES
from autofuse_jax.registration.device import open_network
from autofuse_jax.registration.guide_files import GuideFiles
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.transforms_io.conventions import ITK
from autofuse_jax.transforms_io.files import check_target
from autofuse_jax.weights.pretrained import RegistrationModel

Network = RegistrationModel | RuntimeModel


def check_composite(options: argparse.Namespace) -> None:
    """Check before any work that composite transforms can be written where they are asked for.

    Args:
        options: Options of `autofuse_jax.register`.

    Raises:
        UserError: The package that writes them is missing, or the frames of a series are registered.
    """
    if options.composite:
        if options.reference_frame is not None:
            raise UserError('--composite together with --reference-frame', expected='two images')
        check_target(options.out / COMPOSITES[0], ITK)


def check_gate_maps(options: argparse.Namespace) -> None:
    """Check before any work that there are two images of which the gates of a network can be shown.

    Args:
        options: Options of `autofuse_jax.register`.

    Raises:
        UserError: The frames of a series are registered.
    """
    if options.gate_maps and options.reference_frame is not None:
        raise UserError('--gate-maps together with --reference-frame', expected='two images')


def check_symmetric(options: argparse.Namespace) -> None:
    """Check before any work that a registration can be the same in both directions.

    Args:
        options: Options of `autofuse_jax.register`.

    Raises:
        UserError: Something else that is asked for has a direction.
    """
    directed = {
        '--weights': options.weights,
        '--initial': options.initial,
        '--reference-frame': options.reference_frame is not None,
        '--samples': options.samples,
    }
    for name in [name for name, given in directed.items() if given] if options.symmetric else ():
        raise UserError(f'--symmetric together with {name}, which has a direction', fix='leave out one of the two')


def open_network_of(options: argparse.Namespace) -> Network | None:
    """Open the network that the options name; None where they name none."""
    return None if options.weights is None else open_network(options.weights, options.device)


def settings_of(options: argparse.Namespace) -> PipelineSettings:
    """Turn command line options into settings.

    Args:
        options: Options from the parser.

    Raises:
        UserError: A value is out of its range or two do not fit together.
    """
    # The frames of a series come from one scanner and one position.
    kind = options.align or ('affine' if options.reference_frame is None else 'none')
    if options.initial and options.start:
        raise UserError(f'--start={options.start} together with --initial', fix='leave out one of the two')
    start = options.start or ('header' if kind == 'none' else 'auto')
    alignment = AlignmentSettings(kind=kind, similarity=options.similarity, start=start)
    instance = None
    if options.deform:
        options_of = {
            'shrink': options.shrink,
            'steps': options.steps,
            # Steps that are asked for are those of every level, however large.
            'steps_of_large': max(options.steps) if options.steps else None,
            'smoothness': options.smoothness,
            'trust': options.trust,
            'jacobian': options.jacobian,
            'inverse': options.inverse_weight,
            'ncc_window': options.ncc_window,
            'learning_rate': options.learning_rate,
            'guide': options.guide_weight,
            'points': options.guide_points_weight,
        }
        options_of['similarity'] = options.similarity
        instance = InstanceSettings(**{name: value for name, value in options_of.items() if value is not None})
    return PipelineSettings(alignment, instance, options.spacing, options.background, options.samples)


def guide_of(options: argparse.Namespace) -> GuideFiles | str | None:
    """Turn command line options into a guide.

    Args:
        options: Options of `autofuse_jax.register`.

    Returns:
        Files where any are given, and otherwise a name of `choices.GUIDES`, None for 'none'.

    Raises:
        UserError: A guide is asked for without a deformation that it could guide, or twice, or a network that is not
            there is to guide.
    """
    files = GuideFiles(options.fixed_guide, options.moving_guide, *(options.guide_points or (None, None)))
    if (files.any_given or options.guide == NETWORK) and not options.deform:
        raise UserError('a guide together with --no-deform', fix='leave out one of the two')
    if files.any_given and options.reference_frame is not None:
        raise UserError('files that guide together with --reference-frame', expected='a guide for two images')
    if files.any_given and options.guide != AUTO:
        raise UserError(f'files that guide together with --guide={options.guide}', fix='leave out one of the two')
    if options.guide == NETWORK and options.weights is None:
        raise UserError(
            'the guide is a network, and there is none', fix='add --weights, or leave --guide at its default'
        )
    return files if files.any_given else None if options.guide == NONE else options.guide
