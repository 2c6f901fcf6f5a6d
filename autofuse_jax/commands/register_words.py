"""What `register` says: of the run itself, of what the headers of files show, and of the outcome in one line."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from autofuse_jax.data.headers import HeaderFacts
from autofuse_jax.provenance import provenance
from autofuse_jax.registration.pipeline_settings import PipelineSettings
from autofuse_jax.registration.transform_files import itk_remark


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
    parts = []
    for key, name, digits, factor, unit in (('ncc', 'correlation', 3, 1, ''), ('dsc', 'DSC', 1, 100, ' %')):
        before, after = (scores.get(f'{key}_{when}') for when in ('before', 'after'))
        if before is not None or after is not None:
            parts.append(f'{name} {change_text(before, after, digits, factor)}{unit}')
    parts.append(f'NJD {scores["njd_percent"]:.3f} %')
    error = scores['inverse_consistency_mm']['mean']
    if error is not None:
        parts.append(f'inverse consistency {error:.3f} mm')
    return ', '.join(parts) + f', {report["seconds"]:.1f} s'


def change_text(before: float | None, after: float | None, digits: int, factor: float = 1) -> str:
    """Return a score before and after as '0.412 -> 0.873'; what could not be measured, None, is 'unknown'.

    Args:
        before: The score before the registration.
        after: That after it.
        digits: Digits behind the point.
        factor: What both are multiplied by.
    """
    return ' -> '.join('unknown' if value is None else f'{factor * value:.{digits}f}' for value in (before, after))
