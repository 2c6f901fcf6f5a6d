"""Pictures and the section of a page on volumes, mean Jacobian determinants and strain over the frames of a cine."""

import math
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from autofuse_jax.files import replacing
from autofuse_jax.metrics.cine import DETERMINANTS, VOLUMES, WHOLE_IMAGE
from autofuse_jax.metrics.strain import CIRCUMFERENTIAL, RADIAL
from autofuse_jax.reports.canvas import png_of
from autofuse_jax.reports.colours import FAINT, PALETTE, on_white
from autofuse_jax.reports.curves import finish_axes, size_in_pixels, two_panels
from autofuse_jax.reports.html import Html, concatenate, number, picture, section, table, tag

HEIGHT_INCHES = 4.4
FRAME = 'frame'
# Marks of each coloured structure beside its colour, apart from the triangles at its extremes.
MARKERS = ('o', 's', 'D', 'X', 'P', 'p', 'h', '*')

# Kind, a key of `PANELS` -> structure -> value of each frame.
Curves = Mapping[str, Mapping[str, Sequence[float]]]


class Panel(NamedTuple):
    """What a panel of curves is of.

    Attributes:
        title: Heading.
        unit: Label of the vertical axis.
        nothing: Value that says that nothing changes; None where there is none.
    """

    title: str
    unit: str
    nothing: float | None = None


PANELS = {
    VOLUMES: Panel('volume of the structures', 'ml'),
    DETERMINANTS: Panel('mean Jacobian determinant', 'volume ÷ volume in the reference frame', 1),
    RADIAL: Panel('radial strain of walls', '% of the length in the reference frame', 0),
    CIRCUMFERENTIAL: Panel('circumferential strain of walls', '% of the length in the reference frame', 0),
}
# The two panels of a picture.
Kinds = tuple[str, str]
SIZES: Kinds = (VOLUMES, DETERMINANTS)
STRAINS: Kinds = (RADIAL, CIRCUMFERENTIAL)


def cine_plot(
    path: str | os.PathLike,
    curves: Curves,
    *,
    kinds: Kinds = SIZES,
    times: Sequence[float] | None = None,
    time_label: str = FRAME,
    reference_frame: int = 0,
    title: str = '',
) -> None:
    """Draw two kinds of curves over the cycle into one PNG.

    Args:
        path: The PNG file to write; folders are made.
        curves: Curves as `cine_curves` and `strain_curves` return them; a kind may be missing.
        kinds: Kinds of the left and the right panel; default volumes and mean Jacobian determinants.
        times: Place of each frame on the time axis; the number of the frame, from 0, if None.
        time_label: Meaning of the times, with the unit, such as 'time (ms)'.
        reference_frame: Number of the frame that all others were registered to, from 0.
        title: Heading, left out if empty.

    Raises:
        ValueError: The curves and times are not all of one length, or there is no such reference frame.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(
            cine_png(
                curves, kinds=kinds, times=times, time_label=time_label, reference_frame=reference_frame, title=title
            )
        )


def cine_png(
    curves: Curves,
    *,
    kinds: Kinds = SIZES,
    times: Sequence[float] | None = None,
    time_label: str = FRAME,
    reference_frame: int = 0,
    title: str = '',
) -> bytes:
    """Return the picture of `cine_plot`, which says what the arguments are, as the content of a PNG file."""
    places = _times(curves, times, reference_frame)
    canvas, panels = two_panels(HEIGHT_INCHES)
    if title:
        canvas.figure.suptitle(title, x=0.01, ha='left')
    styles = _styles(curves)
    for panel, name_of_kind in zip(panels, kinds, strict=True):
        kind, words = curves.get(name_of_kind, {}), PANELS[name_of_kind]
        panel.set_title(words.title, loc='left')
        panel.set_ylabel(words.unit)
        if words.nothing is not None:
            panel.axhline(words.nothing, color='0.6', linewidth=0.8, zorder=0)
        # The coloured ones last, on top of the grey ones.
        for name in sorted(kind, key=lambda name: styles[name][0] != FAINT):
            _curve(panel, places, np.asarray(kind[name], float), name, styles[name], extremes=name_of_kind == VOLUMES)
        grey = sum(styles[name][0] == FAINT for name in kind)
        if grey:
            panel.plot([], [], color=FAINT, linewidth=0.8, label=f'{grey} smaller structures')
        if any(np.isfinite(np.asarray(values, float)).any() for values in kind.values()):
            place = places[reference_frame]
            panel.axvline(place, color='0.4', linewidth=1.0, linestyle=':', zorder=0, label='reference')
        else:
            panel.text(0.5, 0.5, 'nothing measured', transform=panel.transAxes, ha='center', color='0.5')
        _finish(panel, time_label)
    return png_of(canvas)


def cine_section(
    curves: Curves,
    *,
    times: Sequence[float] | None = None,
    time_label: str = FRAME,
    reference_frame: int = 0,
) -> Html:
    """Return a section of a report page: the picture and a table of the largest and smallest volumes.

    Args:
        curves: Curves as for `cine_plot`.
        times: Times as for `cine_plot`.
        time_label: Label as for `cine_plot`.
        reference_frame: Frame as for `cine_plot`.

    Returns:
        The section.
    """
    png = cine_png(curves, times=times, time_label=time_label, reference_frame=reference_frame)
    places = _times(curves, times, reference_frame)
    rows = []
    for name, numbers in curves.get(VOLUMES, {}).items():
        values = np.asarray(numbers, float)
        if not np.isfinite(values).any():
            continue
        most, least = int(np.nanargmax(values)), int(np.nanargmin(values))
        digits = _digits(values[most])
        row = [name, number(values[reference_frame], digits)]
        for index in (most, least):
            row += [number(values[index], digits), f'{places[index]:g}']
        change = 100 * (values[least] / values[most] - 1) if values[most] > 0 else None
        rows.append([*row, number(change, 1)])
    header = ['structure', 'reference ml', 'largest ml', f'at {time_label}', 'smallest ml', f'at {time_label}']
    text = (
        f'Every frame was registered to frame {reference_frame} (counted from 0). A mean determinant above 1 says that '
        'the structure is larger in that frame than in the reference frame.'
    )
    figure = picture(
        png,
        'Volumes and mean Jacobian determinants over the frames',
        'Largest ▲ and smallest ▼',
        size_in_pixels(HEIGHT_INCHES),
    )
    summary = table([*header, 'smallest vs largest %'], rows) if rows else None
    strain = _strain(curves, places, time_label, reference_frame)
    return section('Over the cycle', tag('p', text), tag('div', figure, class_='plot'), summary, strain)


def _digits(largest: float) -> int:
    """Decimals of volumes up to `largest`: one for those of human hearts, more for the small ones of animals."""
    return max(1, 2 - math.floor(math.log10(largest))) if largest > 0 else 1


def _strain(curves: Curves, places: np.ndarray, time_label: str, reference_frame: int) -> Html | None:
    """The strain of walls, where there are any: what it is, its picture and its extremes."""
    if not any(curves.get(kind) for kind in STRAINS):
        return None
    png = cine_png(curves, kinds=STRAINS, times=places.tolist(), time_label=time_label, reference_frame=reference_frame)
    rows = []
    for kind in STRAINS:
        for wall, values in curves[kind].items():
            least, most = int(np.nanargmin(values)), int(np.nanargmax(values))
            extremes = [cell for at in (least, most) for cell in (number(values[at], 1), f'{places[at]:g}')]
            rows.append([f'{wall}, {kind.partition("_")[0]}', *extremes])
    text = (
        'Strain of the structures that surround their own middle: the change of a length across (radial) or around '
        '(circumferential) the wall, in the slices of the reference frame, over that length. It is that of a beat only '
        'where the reference frame is the end of diastole.'
    )
    figure = picture(png, 'Strain over the frames', 'Mean over the wall', size_in_pixels(HEIGHT_INCHES))
    header = ['wall', 'least %', f'at {time_label}', 'most %', f'at {time_label}']
    return concatenate([tag('p', text), tag('div', figure, class_='plot'), table(header, rows)])


def _times(curves: Curves, times: Sequence[float] | None, reference_frame: int) -> np.ndarray:
    lengths = {len(values) for kind in curves.values() for values in kind.values()}
    if times is not None:
        lengths.add(len(times))
    if len(lengths) > 1:
        raise ValueError(f'curves and times have different numbers of frames: {sorted(lengths)}')
    count = max(lengths, default=0)
    if count and not 0 <= reference_frame < count:
        raise ValueError(f'reference frame {reference_frame} is not one of 0 to {count - 1}')
    return np.arange(count, dtype=float) if times is None else np.asarray(times, float)


def _styles(curves: Curves) -> dict[str, tuple[str, str]]:
    """Colour and mark: the largest structures have their own, the others are grey, the whole image is black."""
    names = list(dict.fromkeys(name for kind in curves.values() for name in kind if name != WHOLE_IMAGE))
    largest = {name: np.max(np.nan_to_num(curves.get(VOLUMES, {}).get(name, [0.0]))) for name in names}
    # A stable sort: equal volumes stay in the order of the classes.
    names_with_colour = set(sorted(names, key=lambda name: -largest[name])[: len(PALETTE)])
    own = zip(map(on_white, PALETTE), MARKERS, strict=True)
    return {name: next(own) if name in names_with_colour else (FAINT, '') for name in names} | {
        WHOLE_IMAGE: ('black', '.')
    }


def _curve(
    panel: Axes, times: np.ndarray, values: np.ndarray, name: str, style: tuple[str, str], *, extremes: bool
) -> None:
    if not np.isfinite(values).any():
        return
    colour, mark = style
    line = '--' if name == WHOLE_IMAGE else '-'
    if colour == FAINT:
        panel.plot(times, values, color=colour, linewidth=0.8)
        return
    label = name
    if extremes:
        most, least = int(np.nanargmax(values)), int(np.nanargmin(values))
        digits = _digits(values[most])
        label = f'{name}: {number(values[least], digits)} – {number(values[most], digits)} ml'
        for index, marker in ((most, '^'), (least, 'v')):
            panel.plot(times[index], values[index], marker=marker, color=colour, markersize=10, linestyle='none')
    # A mark at each frame, so that a single frame or one between gaps is seen too.
    panel.plot(times, values, line, color=colour, linewidth=1.6, marker=mark, markersize=4, label=label)


def _finish(panel: Axes, time_label: str) -> None:
    finish_axes(panel, time_label)
    if time_label == FRAME:
        panel.xaxis.set_major_locator(MaxNLocator('auto', integer=True))
    if panel.get_legend_handles_labels()[0]:
        # Below the panel, where it covers no curve.
        panel.legend(frameon=False, fontsize=8, loc='upper center', bbox_to_anchor=(0.5, -0.16), ncols=3)
