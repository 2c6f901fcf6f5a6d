"""What a registration comes to: the moving volume before it, scores, evidence, verdict."""

from typing import Any, NamedTuple

import numpy as np

from autofuse_jax.data.resample import move_volume
from autofuse_jax.data.volumes import Volume
from autofuse_jax.metrics.folding import jacobian_determinant
from autofuse_jax.registration.evidence import covered_voxels, evidence_of
from autofuse_jax.registration.guide_points import point_evidence, point_record
from autofuse_jax.registration.pipeline import RegistrationResult
from autofuse_jax.registration.scores import score_registration
from autofuse_jax.reports.verdict import Verdict, judge


class Measures(NamedTuple):
    """What a registration comes to.

    Attributes:
        before: The moving volume on the fixed grid through the headers only.
        determinant: float32, Jacobian determinant of the transform's displacement.
        scores: The entry 'scores' of report.json.
        evidence: The entry 'evidence' of report.json; None where the alignment was given.
        verdict: What they say.
    """

    before: Volume
    determinant: np.ndarray
    scores: dict[str, Any]
    evidence: dict[str, Any] | None
    verdict: Verdict


def measure_result(result: RegistrationResult) -> Measures:
    """Score a registration, gather the evidence and judge it.

    Args:
        result: The registration.
    """
    fixed, moving = result.fixed, result.moving
    before = move_volume(moving, fixed.grid, background=result.background.value)
    # Kept until the files are written, where it is float32 anyhow; what folds is counted with all digits.
    determinant = jacobian_determinant(result.transform.displacement).astype(np.float32)
    covered = covered_voxels(fixed, moving, result.transform)
    scores = score_registration(
        fixed,
        result.transform,
        result.inverse,
        moving_before=before.image,
        moved=result.moved,
        labels_before=before.labels,
        moved_labels=result.moved_labels,
        covered=covered,
    )
    evidence = None
    if result.alignment_record is not None:
        evidence = evidence_of(fixed, moving, result.transform, result.alignment_record, covered, determinant)
        points = point_record(result.guide, fixed.grid, moving.grid, result.transform)
        evidence |= point_evidence(points, min(fixed.grid.spacing))
    verdict = judge(
        scores,
        moving_before=before.image,
        moved=result.moved,
        displacement=result.transform.displacement,
        jacobian=determinant,
        smallest_spacing=min(fixed.grid.spacing),
        evidence=evidence,
    )
    return Measures(before, determinant, scores, evidence, verdict)
