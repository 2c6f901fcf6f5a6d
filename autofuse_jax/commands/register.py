"""What `register` does: checks of the options before any work, then two images or a series, and what came of it."""

import argparse

from autofuse_jax.choices import NONE
from autofuse_jax.commands.needs import check_needs
from autofuse_jax.commands.register_needs import NEEDS
from autofuse_jax.commands.register_options import (
    check_composite,
    check_gate_maps,
    check_symmetric,
    guide_of,
    settings_of,
)
from autofuse_jax.commands.register_pair import register_pair
from autofuse_jax.commands.register_series import register_series_files
from autofuse_jax.commands.register_words import about_run, summary_line
from autofuse_jax.errors import UserError
from autofuse_jax.files import results_folder
from autofuse_jax.registration.device import use_device
from autofuse_jax.registration.guide_files import guide_sentence
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.results import REPORT_NAME
from autofuse_jax.registration.spread import spread_sentence
from autofuse_jax.registration.step_progress import StepProgress
from autofuse_jax.reports.verdict import verdict_line
from autofuse_jax.runtime import enable_compilation_cache


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
