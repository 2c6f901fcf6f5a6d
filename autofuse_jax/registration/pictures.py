"""Pictures of a registration in a notebook."""

from collections.abc import Mapping, Sequence

from autofuse_jax.registration.measures import Measures, measure_result
from autofuse_jax.registration.pipeline import RegistrationResult
from autofuse_jax.registration.results import known_values
from autofuse_jax.reports.inline import IMAGES, Picture, panels_picture
from autofuse_jax.reports.registration_view import RegistrationView, view_registration


def view_result(result: RegistrationResult, measures: Measures | None = None) -> RegistrationView:
    """Turn a registration into display orientation, for pictures.

    Args:
        result: The registration.
        measures: Result of `measure_result`; None: made here.

    Returns:
        View that pictures are drawn from.
    """
    measures = measures or measure_result(result)
    return view_registration(
        fixed=known_values(result.fixed.image),
        before=known_values(measures.before.image),
        after=known_values(result.moved),
        displacement=result.transform.displacement,
        jacobian=measures.determinant,
        affine=result.fixed.affine,
        labels=(result.fixed.labels, measures.before.labels, result.moved_labels),
    )


def registration_picture(
    result: RegistrationResult,
    panels: Sequence[str] = IMAGES,
    *,
    names: Mapping[int, str] | None = None,
    measures: Measures | None = None,
) -> Picture:
    """Draw a registration in one plane; a notebook shows the picture where it is the last value of a cell.

    Args:
        result: The registration.
        panels: Titles of the panels, from left to right: 'fixed', 'moving', 'moving, warped', 'difference before',
            'difference after', 'deformation grid', 'Jacobian determinant'; default the first three.
        names: Label id to name of the structures that are outlined in colours of their own, background left out.
        measures: Result of `measure_result`; None: made here.

    Returns:
        The picture; `save(path)` writes it as a PNG file.

    Raises:
        ValueError: There is no such panel.
    """
    return panels_picture(view_result(result, measures), panels, names)
