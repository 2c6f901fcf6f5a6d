"""Registering the two images that options of `register` name, with everything that rides along, into a folder."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.commands.register_options import Network, guide_of, open_network_of
from autofuse_jax.commands.register_words import about_run, say_checks, say_headers
from autofuse_jax.data.formats import stem_of
from autofuse_jax.data.headers import HeaderFacts, read_header
from autofuse_jax.data.inputs import read_classes
from autofuse_jax.data.intensity import fill_missing
from autofuse_jax.data.resample import canonical_volume
from autofuse_jax.errors import UserError
from autofuse_jax.files import check_file_names
from autofuse_jax.progress import OnProgress
from autofuse_jax.registration.clock import Clock
from autofuse_jax.registration.companions import companion_hints, open_companions
from autofuse_jax.registration.gate_maps import GateMap, gate_maps
from autofuse_jax.registration.images import register_images
from autofuse_jax.registration.pair_checks import check_headers
from autofuse_jax.registration.pipeline import RegistrationResult
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.results import check_suffix, write_results
from autofuse_jax.transforms.maps import Chain
from autofuse_jax.weights.pretrained import RegistrationModel


def register_pair(
    options: argparse.Namespace,
    settings: PipelineSettings,
    on_progress: OnProgress,
    *,
    network: Network | None = None,
    about: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Register the two images that options name and write the results.

    Args:
        options: Options of `autofuse_jax.register`.
        settings: Steps of the registration.
        on_progress: Callback (name of the step, steps done, steps at most, loss).
        network: Network that is open already; None opens the one that the options name, if any.
        about: Further content of the report.

    Returns:
        The report, as in report.json.

    Raises:
        UserError: Something is wrong with the files, or options do not fit together.
    """
    clock = Clock()
    guide = guide_of(options)
    suffix = f'.{options.out_format}'
    _check_names([stem_of(path) for path in options.moving_images], suffix)
    headers = [read_header(path) for path in (options.fixed, options.moving)]
    checks = say_headers(headers)
    check_headers(*headers)
    check_suffix(suffix, headers[0].grid)
    companions = open_companions(options.moving_images, headers[1].file, headers[1].grid)
    checks += say_checks(companion_hints(companions))
    # What can be wrong is read before the work begins.
    classes = read_classes(options.classes)
    model = network or open_network_of(options)
    gated = gated_model(model) if options.gate_maps else None
    result = register_images(
        options.fixed,
        options.moving,
        settings,
        guide=guide,
        initial=options.initial or None,
        initial_convention=options.initial_convention,
        fixed_labels=options.fixed_labels,
        moving_labels=options.moving_labels,
        fixed_mask=options.fixed_mask,
        moving_mask=options.moving_mask,
        model=model,
        symmetric=options.symmetric,
        on_progress=on_progress,
    )
    content = {
        'fixed': _file_record(headers[0], options.fixed, options.fixed_labels),
        'moving': _file_record(headers[1], options.moving, options.moving_labels),
        'checks': checks,
        'symmetric': options.symmetric,
    } | about_run(settings, options.command_line, options.weights)
    return write_results(
        options.out,
        result,
        about={**content, **(about or {}), 'times': clock.times(options.import_seconds)},
        classes=classes,
        companions=companions,
        background=settings.background,
        page=options.page,
        suffix=suffix,
        composite=options.composite,
        gates=() if gated is None else gates_of(gated, result),
    )


def gated_model(model: Network) -> RegistrationModel:
    """Return what computes the gates of a network: JAX, whatever runs the network otherwise.

    Args:
        model: The network.

    Raises:
        UserError: It has no gates.
    """
    gated = model if isinstance(model, RegistrationModel) else model.network
    gated.check_gates()
    return gated


def gates_of(model: RegistrationModel, result: RegistrationResult) -> tuple[GateMap, ...]:
    """Return the gates of a network for a pair that was registered.

    Args:
        model: The network.
        result: The registration, whose last part but the alignment is the deformation.
    """
    fixed, moving = (canonical_volume(fill_missing(volume)) for volume in (result.fixed, result.moving))
    return gate_maps(model, fixed, moving, Chain(result.chain.transforms[:-1]))


def _file_record(facts: HeaderFacts, path: Path, labels: Path | None) -> dict[str, Any]:
    return {
        'file': str(path.resolve()),
        'shape': list(facts.shape),
        'spacing_mm': list(facts.spacing),
        'orientation': facts.orientation,
        'labels_file': str(labels.resolve()) if labels else None,
    }


def _check_names(names: Sequence[str], suffix: str) -> None:
    """Check that the images that ride along can be written under the names of their files."""
    twice = sorted({name for name in names if names.count(name) > 1} | ({'labels'} & set(names)))
    if twice:
        raise UserError(
            f'--moving-images would write moved_{twice[0]}{suffix} twice',
            expected='images with different file names, none of them called labels',
            fix='rename one of them',
        )
    check_file_names(f'moved_{name}{suffix}' for name in names)
