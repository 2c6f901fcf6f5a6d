"""Register two images: `python -m autofuse_jax.register --fixed F.nii.gz --moving M.nii.gz --out DIR`.

Any size, spacing and orientation; the result is on the grid of the fixed image. Without weights: affine alignment, then
optimisation of a velocity field for this pair. With --weights the field of a trained network comes between the two.
"""

import argparse
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.data.formats import stem_of
from autofuse_jax.data.headers import HeaderFacts, read_header
from autofuse_jax.data.inputs import ImageLike, LabelsLike, open_volume, read_classes
from autofuse_jax.data.volumes import read_image
from autofuse_jax.errors import UserError, run_command
from autofuse_jax.files import claim_folder
from autofuse_jax.provenance import provenance
from autofuse_jax.registration.alignment import KINDS, SIMILARITIES, STARTS, AlignmentSettings, OnProgress
from autofuse_jax.registration.device import AUTO, DEVICES, open_network, use_device
from autofuse_jax.registration.instance import InstanceSettings
from autofuse_jax.registration.pipeline import PipelineSettings, RegistrationResult, register_volumes
from autofuse_jax.registration.results import REPORT_NAME, Companion, write_results
from autofuse_jax.registration.series import register_series_files
from autofuse_jax.registration.step_progress import StepProgress
from autofuse_jax.runtime import enable_compilation_cache
from autofuse_jax.weights.pretrained import RegistrationModel, load_model


def register_images(
    fixed: ImageLike,
    moving: ImageLike,
    settings: PipelineSettings | None = None,
    *,
    fixed_labels: LabelsLike | None = None,
    moving_labels: LabelsLike | None = None,
    fixed_mask: LabelsLike | None = None,
    moving_mask: LabelsLike | None = None,
    model: RegistrationModel | str | os.PathLike | None = None,
    on_progress: OnProgress | None = None,
) -> RegistrationResult:
    """Register two images from Python.

    Args:
        fixed: A file, an array (D, H, W) of 1 mm voxels, or a `Volume`.
        moving: Likewise; the two may differ in size, spacing and orientation.
        settings: Which steps; default affine alignment and instance optimisation.
        fixed_labels: File or integer array on the grid of the fixed image, or None.
        moving_labels: Likewise of the moving image; they are moved too.
        fixed_mask: File or array, not zero where the fixed image counts, or None.
        moving_mask: Likewise of the moving image.
        model: A network with weights, or the npz of one; None: no network.
        on_progress: Called with the step's name, steps done, steps at most and the loss.

    Returns:
        The result: `moved`, `transform`, `inverse` and more, as NumPy arrays.

    Raises:
        UserError: Something is wrong with the images, labels, masks or weights.

    Example:
        >>> import numpy as np
        >>> from autofuse_jax import AlignmentSettings, InstanceSettings, PipelineSettings, register_images
        >>> fixed = np.zeros((16, 16, 16), np.float32)
        >>> fixed[4:12, 5:12, 4:11] = 1.0
        >>> moving = np.roll(fixed, 1, axis=0)
        >>> settings = PipelineSettings(
        ...     AlignmentSettings(kind='translation', start='header', spacings=(1.0,), steps=(20,)),
        ...     InstanceSettings(shrink=(1,), steps=(5,)),
        ... )
        >>> result = register_images(fixed, moving, settings)
        >>> result.moved.shape, result.transform.displacement.shape
        ((16, 16, 16), (16, 16, 16, 3))
        >>> bool(np.abs(result.moved - fixed).mean() < 0.5 * np.abs(moving - fixed).mean())
        True
    """
    volumes = (
        open_volume(fixed, 'fixed', labels=fixed_labels, mask=fixed_mask),
        open_volume(moving, 'moving', labels=moving_labels, mask=moving_mask),
    )
    if isinstance(model, str | os.PathLike):
        model = load_model(model)
    return register_volumes(*volumes, settings, model=model, on_progress=on_progress)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line tool.

    Args:
        argv: Arguments without the program name; None takes those of the process.

    Returns:
        The exit status: 0, 2 after bad input, 130 after an interrupt.
    """
    options = _parser().parse_args(argv)
    arguments = list(sys.argv[1:] if argv is None else argv)
    return run_command(lambda: _run(options, arguments))


def _run(options: argparse.Namespace, arguments: list[str]) -> int:
    settings = settings_of(options)
    claim_folder(options.out, overwrite=options.overwrite, record=REPORT_NAME, only_own=True)
    use_device(options.device)
    enable_compilation_cache()
    if options.reference_frame is not None:
        return register_series_files(options, settings, about_run(settings, arguments, 'register'))
    if options.fixed is None:
        raise UserError('no fixed image is given', fix='add --fixed FILE, or --reference-frame N for a series')
    headers = [read_header(path) for path in (options.fixed, options.moving)]
    checks = say_headers(headers)
    companions = [Companion(stem_of(path), read_image(path)) for path in options.moving_images]
    _check_names(companions)
    result = register_images(
        options.fixed,
        options.moving,
        settings,
        fixed_labels=options.fixed_labels,
        moving_labels=options.moving_labels,
        fixed_mask=options.fixed_mask,
        moving_mask=options.moving_mask,
        model=None if options.weights is None else open_network(options.weights, options.device),
        on_progress=StepProgress(),
    )
    about = {
        'fixed': _file_record(headers[0], options.fixed, options.fixed_labels),
        'moving': _file_record(headers[1], options.moving, options.moving_labels),
        'checks': checks,
    } | about_run(settings, arguments, 'register', options.weights)
    report = write_results(
        options.out,
        result,
        about=about,
        classes=read_classes(options.classes),
        companions=companions,
        page=options.page,
    )
    print(summary_line(report))
    print(f'results: {options.out}')
    return 0


def settings_of(options: argparse.Namespace) -> PipelineSettings:
    """Turn command line options into settings.

    Args:
        options: From the parser.

    Raises:
        UserError: A value is out of its range or two do not fit together.
    """
    # The frames of a series come from one scanner and one position.
    kind = options.align or ('affine' if options.reference_frame is None else 'none')
    start = options.start or ('header' if kind == 'none' else 'auto')
    alignment = AlignmentSettings(kind=kind, similarity=options.similarity, start=start)
    instance = None
    if options.deform:
        given = {
            'shrink': options.shrink,
            'steps': options.steps,
            'smoothness': options.smoothness,
            'trust': options.trust,
            'jacobian': options.jacobian,
            'inverse': options.inverse_weight,
            'ncc_window': options.ncc_window,
            'learning_rate': options.learning_rate,
        }
        instance = InstanceSettings(**{name: value for name, value in given.items() if value is not None})
    return PipelineSettings(alignment, instance, options.spacing)


def about_run(
    settings: PipelineSettings, arguments: Sequence[str], command: str, weights: Path | None = None
) -> dict[str, Any]:
    """Return what a report says of the run itself: settings, command, versions, commit, machine, date.

    Args:
        settings: Of the registration.
        arguments: Of the command line.
        command: Name of the module.
        weights: File of the network's weights, or None.
    """
    described = dataclasses.asdict(settings) | {'weights': str(weights) if weights else None}
    return (
        {'settings': described} | provenance() | {'command': f'python -m autofuse_jax.{command} {" ".join(arguments)}'}
    )


def say_headers(headers: Sequence[HeaderFacts]) -> list[str]:
    """Print what the header check found, and return it."""
    checks = [text for facts in headers for text in (facts.sentence(), *facts.remarks)]
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


def _check_names(companions: Sequence[Companion]) -> None:
    names = [companion.name for companion in companions]
    twice = sorted({name for name in names if names.count(name) > 1} | ({'labels'} & set(names)))
    if twice:
        raise UserError(
            f'--moving-images would write moved_{twice[0]}.nii.gz twice',
            expected='images with different file names, none of them called labels',
            fix='rename one of them',
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='python -m autofuse_jax.register',
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    files = parser.add_argument_group('files')
    files.add_argument(
        '--fixed', type=Path, metavar='FILE', help='the image that stays; its grid is that of the result'
    )
    files.add_argument('--moving', type=Path, metavar='FILE', required=True, help='the image that is moved')
    files.add_argument('--out', type=Path, metavar='DIR', required=True, help='folder of the results')
    files.add_argument('--fixed-labels', type=Path, metavar='FILE', help='label map of the fixed image')
    files.add_argument('--moving-labels', type=Path, metavar='FILE', help='label map of the moving image; moved too')
    files.add_argument('--fixed-mask', type=Path, metavar='FILE', help='not 0 where the fixed image counts')
    files.add_argument('--moving-mask', type=Path, metavar='FILE', help='not 0 where the moving image counts')
    files.add_argument(
        '--moving-images', type=Path, metavar='FILE', nargs='+', default=[], help='more images that ride along'
    )
    files.add_argument('--classes', type=Path, metavar='FILE', help='JSON with the names of the labels')
    files.add_argument('--overwrite', action='store_true', help='replace results that are in --out')
    files.add_argument('--no-page', dest='page', action='store_false', help='leave out report.html')
    series = parser.add_argument_group('series')
    series.add_argument(
        '--reference-frame',
        type=int,
        metavar='N',
        help='register every frame of the 4-D --moving to its frame N, from 0',
    )
    linear = parser.add_argument_group('alignment')
    linear.add_argument('--align', choices=KINDS, help='linear map that is sought; default affine, none for a series')
    linear.add_argument('--similarity', choices=SIMILARITIES, default='ncc', help='mi for different modalities')
    linear.add_argument('--start', choices=STARTS, help='what the alignment starts from')
    deform = parser.add_argument_group('deformation')
    deform.add_argument('--weights', type=Path, metavar='FILE', help='npz of a trained network (port_weights)')
    deform.add_argument(
        '--device', choices=DEVICES, default=AUTO, help='on cpu the network runs in OpenVINO where that is installed'
    )
    deform.add_argument('--no-deform', dest='deform', action='store_false', help='leave out instance optimisation')
    deform.add_argument('--spacing', type=float, metavar='MM', help='voxel size in which the deformation is sought')
    deform.add_argument('--shrink', type=_numbers, metavar='N,..', help='factors of the levels, coarse to fine')
    deform.add_argument('--steps', type=_numbers, metavar='N,..', help='largest number of steps of each level')
    deform.add_argument('--smoothness', type=float, metavar='X', help='weight of the velocity gradient; 0.5')
    deform.add_argument('--trust', type=float, metavar='X', help="share of the network's field to start from; 0.5")
    deform.add_argument('--jacobian', type=float, metavar='X', help='weight of folding')
    deform.add_argument('--inverse-weight', type=float, metavar='X', help='weight of the similarity of the inverse')
    deform.add_argument('--ncc-window', type=int, metavar='N', help='window of the correlation, voxels, odd')
    deform.add_argument('--learning-rate', type=float, metavar='X', help='voxels a step')
    return parser


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(','))


_numbers.__name__ = 'list of whole numbers'

if __name__ == '__main__':
    sys.exit(main())
