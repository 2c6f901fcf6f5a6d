"""What `register` does: two images, or the frames of a series, with everything that rides along."""

import argparse
import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.choices import AUTO, NETWORK, NONE
from autofuse_jax.commands.needs import check_needs
from autofuse_jax.commands.register_needs import NEEDS
from autofuse_jax.commands.register_series import register_series_files
from autofuse_jax.data.formats import stem_of
from autofuse_jax.data.headers import HeaderFacts, read_header
from autofuse_jax.data.inputs import read_classes
from autofuse_jax.data.intensity import fill_missing
from autofuse_jax.data.resample import canonical_volume
from autofuse_jax.deployment.runtime import RuntimeModel
from autofuse_jax.errors import UserError
from autofuse_jax.files import check_file_names, results_folder
from autofuse_jax.progress import OnProgress
from autofuse_jax.provenance import provenance
from autofuse_jax.registration.alignment import AlignmentSettings
from autofuse_jax.registration.clock import Clock
from autofuse_jax.registration.companions import companion_hints, open_companions
from autofuse_jax.registration.composites import COMPOSITES
from autofuse_jax.registration.device import open_network, use_device
from autofuse_jax.registration.gate_maps import GateMap, gate_maps
from autofuse_jax.registration.guide_files import GuideFiles, guide_sentence
from autofuse_jax.registration.images import register_images
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.pair_checks import check_headers
from autofuse_jax.registration.pipeline import RegistrationResult
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.results import REPORT_NAME, check_suffix, itk_remark, write_results
from autofuse_jax.registration.spread import spread_sentence
from autofuse_jax.registration.step_progress import StepProgress
from autofuse_jax.reports.verdict import verdict_line
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.transforms.maps import Chain
from autofuse_jax.transforms_io.conventions import ITK
from autofuse_jax.transforms_io.files import check_target
from autofuse_jax.weights.pretrained import RegistrationModel

Network = RegistrationModel | RuntimeModel


def run(options: argparse.Namespace) -> int:
    """Register two images, or the frames of a series, and write the results.

    Args:
        options: Options of `autofuse_jax.register`.

    Returns:
        The exit status.

    Raises:
        UserError: Something is wrong with the files, or options do not fit together.
    """
    check_needs(options, NEEDS)
    if options.moving is None:
        raise UserError('no moving image is given', fix='add --moving FILE, or --pairs FILE for many pairs')
    check_composite(options)
    check_gate_maps(options)
    check_symmetric(options)
    settings = settings_of(options)
    with results_folder(options.out, overwrite=options.overwrite, record=REPORT_NAME, only_own=True):
        return _register(options, settings)


def _register(options: argparse.Namespace, settings: PipelineSettings) -> int:
    """Register and say what came of it."""
    use_device(options.device)
    enable_compilation_cache()
    if options.reference_frame is not None:
        about = about_run(settings, options.command_line, options.weights)
        # Files that guide are for two images, and refused here.
        guide_of(options)
        return register_series_files(options, settings, None if options.guide == NONE else options.guide, about)
    if options.fixed is None:
        raise UserError('no fixed image is given', fix='add --fixed FILE, or --reference-frame N for a series')
    report = register_pair(options, settings, StepProgress())
    if report['guide']:
        print(guide_sentence(report['guide']))
    if report['spread']:
        print(spread_sentence(report['spread']))
    for sentence in (*report['initial_checks'], *report['moving_images']):
        print(sentence)
    print(f'outside of the moving image: filled with {report["background"]["sentence"]}')
    print(summary_line(report))
    print(f'results: {options.out}')
    print(verdict_line(report['verdict']))
    return 0


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
        UserError: A guide is asked for without a deformation that it could guide, or twice.
    """
    files = GuideFiles(options.fixed_guide, options.moving_guide, *(options.guide_points or (None, None)))
    if (files.any_given or options.guide == NETWORK) and not options.deform:
        raise UserError('a guide together with --no-deform', fix='leave out one of the two')
    if files.any_given and options.reference_frame is not None:
        raise UserError('files that guide together with --reference-frame', expected='a guide for two images')
    if files.any_given and options.guide != AUTO:
        raise UserError(f'files that guide together with --guide={options.guide}', fix='leave out one of the two')
    return files if files.any_given else None if options.guide == NONE else options.guide


def about_run(settings: PipelineSettings, command: str, weights: Path | None = None) -> dict[str, Any]:
    """Return what a report says of the run itself: settings, command, versions, commit, machine, date.

    Args:
        settings: Settings of the registration.
        command: The command line.
        weights: File of the network's weights, or None.
    """
    described = dataclasses.asdict(settings) | {'weights': str(weights) if weights else None}
    return {'settings': described} | provenance() | {'command': command}


def say_headers(headers: Sequence[HeaderFacts]) -> list[str]:
    """Print what the header check found, and return it."""
    checks = [text for facts in headers for text in (facts.sentence(), *facts.remarks)]
    remark = itk_remark((facts.file, facts.grid, facts.itk_obstacle) for facts in headers)
    checks += [remark] if remark else []
    return say_checks(checks)


def say_checks(checks: list[str]) -> list[str]:
    """Print sentences on what was found in the files, and return them."""
    for text in checks:
        print(text, file=sys.stderr)
    return checks


def summary_line(report: dict[str, Any]) -> str:
    """Return the outcome of a registration in one line."""
    scores = report['scores']
    parts = [f'correlation {scores["ncc_before"]:.3f} -> {scores["ncc_after"]:.3f}'] if scores['ncc_before'] else []
    if 'dsc_after' in scores and scores['dsc_after'] is not None:
        parts.append(f'DSC {100 * scores["dsc_before"]:.1f} -> {100 * scores["dsc_after"]:.1f} %')
    parts.append(f'NJD {scores["njd_percent"]:.3f} %')
    error = scores['inverse_consistency_mm']['mean']
    if error is not None:
        parts.append(f'inverse consistency {error:.3f} mm')
    return ', '.join(parts) + f', {report["seconds"]:.1f} s'


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
