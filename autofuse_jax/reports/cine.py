"""Volumes of the structures and the mean Jacobian determinant over the frames of a cine."""

import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib import colors
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from autofuse_jax.files import replacing
from autofuse_jax.reports.html import Html, number, picture, section, table, tag
from autofuse_jax.reports.pictures import PALETTE

DOTS_PER_INCH = 110
WIDTH_INCHES, HEIGHT_INCHES = 11.0, 4.4
VOLUMES, DETERMINANTS = 'volume_ml', 'jacobian_mean'
WHOLE_IMAGE = 'whole image'
FRAME = 'frame'
MM3_PER_ML = 1000.0
# The palette is made for lines on dark images; mixed with this much black it stands out on white as well.
BLACK_SHARE = 0.28
OTHER_COLOUR = '0.75'

# Kind ('volume_ml' or 'jacobian_mean') -> structure -> value of each frame.
Curves = Mapping[str, Mapping[str, Sequence[float]]]


def cine_curves(
    reference_labels: np.ndarray,
    jacobians: Iterable[np.ndarray],
    names: Mapping[int, str],
    voxel_mm3: float,
    frame_labels: Iterable[np.ndarray] | None = None,
) -> dict[str, dict[str, list[float]]]:
    """Measure every frame of a cine whose frames (moving) were registered to one (fixed).

    Args:
        reference_labels: Integer labels of the reference frame, (D, H, W).
        jacobians: For each frame the determinant on the grid of the reference frame, (D, H, W) or one less along each
            axis; above 1 where the frame shows a place larger.
        names: Label id to name, background left out.
        voxel_mm3: Volume of a voxel.
        frame_labels: For each frame the labels of the reference frame warped onto it. Without them a volume is the
            volume in the reference frame times the mean determinant in the structure.

    Returns:
        'volume_ml' and 'jacobian_mean': name of the structure to one value for each frame, nan where the reference
        frame does not have the structure; the determinants also for the 'whole image'.
    """
    counts = {label: int(np.count_nonzero(reference_labels == label)) for label in names}
    means: dict[str, list[float]] = {name: [] for name in (*names.values(), WHOLE_IMAGE)}
    for determinant in jacobians:
        # Differences exist for all but the last voxel along each axis.
        cut = reference_labels[tuple(slice(size) for size in determinant.shape)]
        for label, name in names.items():
            inside = determinant[cut == label]
            means[name].append(float(inside.mean(dtype=np.float64)) if inside.size else math.nan)
        means[WHOLE_IMAGE].append(float(determinant.mean(dtype=np.float64)))
    ml = voxel_mm3 / MM3_PER_ML
    if frame_labels is None:
        volumes = {name: [counts[label] * ml * mean for mean in means[name]] for label, name in names.items()}
    else:
        volumes = {name: [] for name in names.values()}
        for labels in frame_labels:
            for label, name in names.items():
                volumes[name].append(np.count_nonzero(labels == label) * ml if counts[label] else math.nan)
    return {VOLUMES: volumes, DETERMINANTS: means}


def cine_plot(
    path: str | os.PathLike,
    curves: Curves,
    *,
    times: Sequence[float] | None = None,
    time_label: str = FRAME,
    reference_frame: int = 0,
    title: str = '',
) -> None:
    """Draw volumes and mean Jacobian determinants over the cycle into one PNG.

    Args:
        path: The PNG file to write; folders are made.
        curves: As `cine_curves` returns them; a kind may be missing.
        times: Place of each frame on the time axis; the number of the frame, from 0, if None.
        time_label: What the times are, with the unit, such as 'time (ms)'.
        reference_frame: Number of the frame that all others were registered to, from 0.
        title: Heading, left out if empty.

    Raises:
        ValueError: The curves and times are not all of one length, or there is no such reference frame.
    """
    with replacing(path) as temporary:
        temporary.write_bytes(
            cine_png(curves, times=times, time_label=time_label, reference_frame=reference_frame, title=title)
        )


def cine_png(
    curves: Curves,
    *,
    times: Sequence[float] | None = None,
    time_label: str = FRAME,
    reference_frame: int = 0,
    title: str = '',
) -> bytes:
    """Return the picture of `cine_plot`, which says what the arguments are, as the content of a PNG file."""
    times = _times(curves, times, reference_frame)
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), dpi=DOTS_PER_INCH, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    if title:
        figure.suptitle(title, x=0.01, ha='left')
    left, right = figure.subplots(1, 2)
    colour_of = _colours(curves)
    volumes, determinants = curves.get(VOLUMES, {}), curves.get(DETERMINANTS, {})
    left.set_title('volume of the structures', loc='left')
    left.set_ylabel('ml')
    right.set_title('mean Jacobian determinant', loc='left')
    right.set_ylabel('volume ÷ volume in the reference frame')
    right.axhline(1, color='0.6', linewidth=0.8, zorder=0)
    for panel, kind in ((left, volumes), (right, determinants)):
        # The coloured ones last, on top of the grey ones.
        for name in sorted(kind, key=lambda name: colour_of[name] != OTHER_COLOUR):
            _curve(panel, times, np.asarray(kind[name], float), name, colour_of[name], extremes=kind is volumes)
        grey = sum(colour_of[name] == OTHER_COLOUR for name in kind)
        if grey:
            panel.plot([], [], color=OTHER_COLOUR, linewidth=0.8, label=f'{grey} smaller structures')
        if any(np.isfinite(np.asarray(values, float)).any() for values in kind.values()):
            place = times[reference_frame]
            panel.axvline(place, color='0.4', linewidth=1.0, linestyle=':', zorder=0, label='reference')
        else:
            panel.text(0.5, 0.5, 'nothing measured', transform=panel.transAxes, ha='center', color='0.5')
        _finish(panel, time_label)
    buffer = io.BytesIO()
    canvas.print_png(buffer)
    return buffer.getvalue()


def cine_section(
    curves: Curves,
    *,
    times: Sequence[float] | None = None,
    time_label: str = FRAME,
    reference_frame: int = 0,
) -> Html:
    """Return a section of a report page: the picture and a table of the largest and smallest volumes.

    Args:
        curves: As for `cine_plot`.
        times: As for `cine_plot`.
        time_label: As for `cine_plot`.
        reference_frame: As for `cine_plot`.

    Returns:
        The section.
    """
    png = cine_png(curves, times=times, time_label=time_label, reference_frame=reference_frame)
    size = round(WIDTH_INCHES * DOTS_PER_INCH), round(HEIGHT_INCHES * DOTS_PER_INCH)
    places = _times(curves, times, reference_frame)
    rows = []
    for name, values in curves.get(VOLUMES, {}).items():
        values = np.asarray(values, float)
        if not np.isfinite(values).any():
            continue
        most, least = int(np.nanargmax(values)), int(np.nanargmin(values))
        row = [name, number(values[reference_frame], 1)]
        for index in (most, least):
            row += [number(values[index], 1), f'{places[index]:g}']
        change = 100 * (values[least] / values[most] - 1) if values[most] > 0 else None
        rows.append([*row, number(change, 1)])
    header = ['structure', 'reference ml', 'largest ml', f'at {time_label}', 'smallest ml', f'at {time_label}']
    text = (
        f'Every frame was registered to frame {reference_frame} (counted from 0). A mean determinant above 1 says that '
        'the structure is larger in that frame than in the reference frame.'
    )
    figure = picture(png, 'Volumes and mean Jacobian determinants over the frames', 'Largest ▲ and smallest ▼', size)
    numbers = table([*header, 'smallest vs largest %'], rows) if rows else None
    return section('Over the cycle', tag('p', text), tag('div', figure, class_='plot'), numbers)


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


def _colours(curves: Curves) -> dict[str, str]:
    """The largest structures have colours of their own, the others are grey, the whole image is black."""
    names = list(dict.fromkeys(name for kind in curves.values() for name in kind if name != WHOLE_IMAGE))
    largest = {name: np.max(np.nan_to_num(curves.get(VOLUMES, {}).get(name, [0.0]))) for name in names}
    # A stable sort: equal volumes stay in the order of the classes.
    chosen = set(sorted(names, key=lambda name: -largest[name])[: len(PALETTE)])
    palette = iter(PALETTE)
    coloured = {name: _darker(next(palette)) if name in chosen else OTHER_COLOUR for name in names}
    return coloured | {WHOLE_IMAGE: 'black'}


def _darker(colour: str) -> str:
    return colors.to_hex((1 - BLACK_SHARE) * np.asarray(colors.to_rgb(colour)))


def _curve(panel: Axes, times: np.ndarray, values: np.ndarray, name: str, colour: str, *, extremes: bool) -> None:
    if not np.isfinite(values).any():
        return
    style = '--' if name == WHOLE_IMAGE else '-'
    if colour == OTHER_COLOUR:
        panel.plot(times, values, color=colour, linewidth=0.8)
        return
    label = name
    if extremes:
        most, least = int(np.nanargmax(values)), int(np.nanargmin(values))
        label = f'{name}: {number(values[least], 1)} – {number(values[most], 1)} ml'
        for index, marker in ((most, '^'), (least, 'v')):
            panel.plot(times[index], values[index], marker=marker, color=colour, markersize=8, linestyle='none')
    # A dot at each frame, so that a single frame or one between gaps is seen too.
    panel.plot(times, values, style, color=colour, linewidth=1.8, marker='.', markersize=4, label=label)


def _finish(panel: Axes, time_label: str) -> None:
    panel.set_xlabel(time_label)
    panel.grid(color='0.9', linewidth=0.6)
    panel.spines[['top', 'right']].set_visible(False)
    if time_label == FRAME:
        panel.xaxis.get_major_locator().set_params(integer=True)
    if panel.get_legend_handles_labels()[0]:
        # Below the panel, where it covers no curve.
        panel.legend(frameon=False, fontsize=8, loc='upper center', bbox_to_anchor=(0.5, -0.16), ncols=3)
