"""What `register --reference-frame` does: the frames of one file to one of them, and what came of it."""

import argparse
import sys
from typing import Any

from autofuse_jax.commands.register_words import change_text
from autofuse_jax.data.headers import read_header
from autofuse_jax.data.inputs import open_volume, read_classes
from autofuse_jax.errors import UserError
from autofuse_jax.registration.device import open_network
from autofuse_jax.registration.guide_files import guide_sentence
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.results import check_suffix
from autofuse_jax.registration.series import register_series
from autofuse_jax.registration.series_results import write_series
from autofuse_jax.reports.verdict import verdict_line


def register_series_files(
    options: argparse.Namespace, settings: PipelineSettings, guide: str | None, about: dict[str, Any]
) -> int:
    """Register the series of a command line and write its results.

    Args:
        options: Options of `autofuse_jax.register`.
        settings: Steps of the registration.
        guide: What guides beside the images, see `register_series`.
        about: Content of the report about the run.

    Returns:
        The exit status.

    Raises:
        UserError: Something is wrong with the files, or an option does not go with a series.
    """
    for name in ('fixed', 'moving_labels', 'moving_mask', 'moving_images', 'initial'):
        if getattr(options, name):
            raise UserError(
                f'--{name.replace("_", "-")} does not go with --reference-frame',
                expected='--moving SERIES, and labels and mask of the reference frame as --fixed-labels, --fixed-mask',
            )
    if options.samples:
        raise UserError('--samples does not go with --reference-frame', fix='leave out one of the two')
    header = read_header(options.moving)
    for text in (header.sentence(), *header.remarks):
        print(text, file=sys.stderr)
    check_suffix(f'.{options.out_format}', header.grid)
    series = open_volume(
        options.moving, 'moving', labels=options.fixed_labels, mask=options.fixed_mask, allow_series=True
    )
    classes = read_classes(options.classes)
    result = register_series(
        series,
        options.reference_frame,
        settings,
        classes=classes,
        model=None if options.weights is None else open_network(options.weights, options.device),
        guide=guide,
    )
    about = {
        'moving': {
            'file': str(options.moving.resolve()),
            'shape': list(header.shape),
            'spacing_mm': list(header.spacing),
            'orientation': header.orientation,
        },
        'checks': [header.sentence(), *header.remarks],
        'classes': classes,
    } | about
    report = write_series(options.out, result, about=about, suffix=f'.{options.out_format}', page=options.page)
    if report['guide']:
        print(guide_sentence(report['guide']))
    before, after = report['scores']['ncc_before'], report['scores']['ncc_after']
    print(
        f'{len(result.frames)} frames to frame {result.reference}: mean correlation {change_text(before, after, 3)}, '
        f'largest NJD {report["scores"]["njd_percent"]:.3f} %, {report["seconds"]:.1f} s\nresults: {options.out}'
    )
    print(verdict_line(report['verdict']))
    return 0
