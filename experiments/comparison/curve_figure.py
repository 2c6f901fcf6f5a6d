"""The figure of a comparison of methods: validation DSC against steps, a line for every row of the record."""

import os
from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from autofuse_jax.files import replacing
from autofuse_jax.reports.canvas import png_of
from autofuse_jax.reports.colours import PALETTE, on_white
from autofuse_jax.reports.curves import finish_axes, two_panels
from experiments.comparison.rows import REFERENCES

HEIGHT_INCHES = 7.6
TITLES = {False: 'validation DSC %, trained without labels', True: 'validation DSC %, labels on part of the data'}
# With eight colours each.
STYLES = ('-', '--', ':')
WIDTH, REFERENCE_WIDTH = 1.3, 2.4
LEGEND_COLUMNS, LEGEND_BELOW = 2, -0.1


def draw_curves(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Draw the curves of validation of all rows into one PNG, AutoFuse in black.

    Args:
        path: The PNG file to write.
        record: Record of `compare_methods`; rows without a curve are left out.
    """
    canvas, panels = two_panels(HEIGHT_INCHES)
    for semi, panel in zip(TITLES, panels, strict=True):
        draw_group(panel, record, semi)
    with replacing(path) as temporary:
        temporary.write_bytes(png_of(canvas))


def rows_with_curves(record: Mapping[str, Any], semi: bool) -> dict[str, Mapping[str, Any]]:
    """Return the rows of a record that were trained with labels, or without, and validated several times."""
    return {name: row for name, row in record['rows'].items() if row['semi'] == semi and row.get('validation')}


def draw_group(panel: Axes, record: Mapping[str, Any], semi: bool) -> None:
    """Draw the rows that were trained in the same way, and how much overlaps without registration.

    Args:
        panel: Where.
        record: Record of `compare_methods`.
        semi: Whether those with labels on part of the data are meant.
    """
    rows, reference = rows_with_curves(record, semi), REFERENCES[semi]
    panel.set_title(TITLES[semi])
    others = [name for name in rows if name != reference]
    for name, row in rows.items():
        points = [(point['step'], point['dsc_after']) for point in row['validation'] if point['dsc_after'] is not None]
        colour, style, width = 'black', '-', REFERENCE_WIDTH
        if name != reference:
            turn, position = divmod(others.index(name), len(PALETTE))
            colour, style, width = on_white(PALETTE[position]), STYLES[turn % len(STYLES)], WIDTH
        panel.plot(
            [step for step, _ in points],
            [100 * dsc for _, dsc in points],
            style,
            color=colour,
            linewidth=width,
            # Above the others, however many there are.
            zorder=3 if name == reference else 2,
            marker='o',
            markersize=2.5,
            label=row['title'],
        )
    finish_axes(panel, 'step')
    if not rows:
        panel.text(0.5, 0.5, 'no record', transform=panel.transAxes, ha='center', color='0.5')
        return
    before = next(iter(rows.values()))['scores']['dsc_before']['mean']
    panel.axhline(100 * before, color='0.6', linewidth=0.8, linestyle='--', zorder=0, label='before')
    panel.set_xlim(left=0)
    panel.legend(
        loc='upper center', bbox_to_anchor=(0.5, LEGEND_BELOW), ncols=LEGEND_COLUMNS, fontsize='small', frameon=False
    )
