"""Fig. 5, validations and gates over training: lines from records of trained rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from autofuse_jax.configs.comparison.rows import LABELLED_NAME
from matplotlib.figure import Figure

from autofuse_jax.reports.colours import PALETTE, on_white
from autofuse_jax.reports.curves import finish_axes
from autofuse_jax.reports.summary import spread
from experiments.comparison.curve import GATE
from experiments.comparison.curve_figure import TITLES as TITLES_OF_GROUPS
from experiments.comparison.curve_figure import draw_group, rows_with_curves
from experiments.paper.comparison_tables import check_pairs, data_name, origin_of
from experiments.paper.outputs import PaperFigure, PaperTable

UNSUPERVISED = 'autofuse'
VALIDATION_TITLE = 'DSC against steps of training, every method'
WITH_REST, ALONE = 'labelled and all others', 'labelled alone'
FIGURE5_NOTES = (
    'Zero is the unsupervised AutoFuse. "Labelled alone": trained on the pairs of those subjects only; with all '
    'subjects both are the same run. Bars: standard error over the pairs.',
    'The paper draws this for brains (OASIS, Mindboggle, Buckner), of a labelled and an unlabelled image each, and '
    'prints no numbers; both frames of a heart here are labelled, or neither.',
)


def labelled_points(record: Mapping[str, Any]) -> dict[str, dict[int, np.ndarray]]:
    """Return the DSC of the pairs by number of labelled subjects, with the other subjects and without them.

    Args:
        record: Record of the rows of Fig. 5.

    Returns:
        'labelled and all others' and 'labelled alone', each with DSC in percent, one value a pair, by number.
    """
    check_pairs(record)
    lines: dict[str, dict[int, np.ndarray]] = {WITH_REST: {}, ALONE: {}}
    for name, row in record['rows'].items():
        match = LABELLED_NAME.fullmatch(name)
        if match is None and name != UNSUPERVISED:
            continue
        count, line = (int(match[1]), ALONE if match[2] else WITH_REST) if match else (0, WITH_REST)
        lines[line][count] = 100 * np.array(row['dsc_after'], float)
    everyone = record.get('data', {}).get('train_subjects')
    if lines[ALONE] and everyone in lines[WITH_REST]:
        lines[ALONE][everyone] = lines[WITH_REST][everyone]
    return {line: dict(sorted(points.items())) for line, points in lines.items()}


def figure5(record: Mapping[str, Any]) -> list[PaperFigure | PaperTable]:
    """Return Fig. 5 and its numbers.

    Args:
        record: Record of the rows of Fig. 5.

    Raises:
        UserError: A row was scored on other pairs than the record lists.
    """
    points, name = labelled_points(record), data_name(record)
    pairs = len(record['pairs'])
    counts = sorted({count for line in points.values() for count in line})
    rows = [
        [str(count), *(_spread(points[line].get(count)) for line in points), _gain(points, count)] for count in counts
    ]
    title = f'Fig. 5: DSC against the number of labelled subjects ({name})'
    note = f'{pairs} pairs of the {record["split"]} split of {name}.'
    origin = origin_of(record)
    head = ['labelled subjects', *(f'{line}: DSC %' for line in points), 'difference, points']
    return [
        PaperFigure(f'figure5_{name}', title, lambda: draw_figure5(points), (note, *FIGURE5_NOTES), origin),
        PaperTable(f'figure5_{name}_numbers', f'{title}, numbers', head, rows, (note, *FIGURE5_NOTES), origin),
    ]


def draw_figure5(points: Mapping[str, Mapping[int, np.ndarray]]) -> Figure:
    """Draw both lines of Fig. 5.

    Args:
        points: Result of `labelled_points`.
    """
    figure = Figure(figsize=(6.4, 4.2), layout='constrained')
    axes = figure.subplots()
    for number, (line, values) in enumerate(points.items()):
        if values:
            spreads = [spread(value) for value in values.values()]
            means = [one.mean for one in spreads]
            errors = [one.deviation / np.sqrt(one.count) if one.count > 1 else 0 for one in spreads]
            colour = on_white(PALETTE[(7, 1)[number]])
            style = ('o-', 's--')[number]
            axes.errorbar(list(values), means, errors, fmt=style, color=colour, capsize=3, markersize=5, label=line)
    axes.set_xticks(sorted({count for values in points.values() for count in values}))
    axes.set_ylabel('DSC %')
    finish_axes(axes, 'training subjects with labels')
    axes.legend(frameon=False)
    return figure


def validations_over_training(record: Mapping[str, Any]) -> list[PaperFigure]:
    """Return the figure of the DSC of every row at each of its validations, a panel for each way of training.

    Args:
        record: Record of a comparison.

    Returns:
        The figure; nothing where no row was validated while it was trained.
    """
    groups = [semi for semi in TITLES_OF_GROUPS if rows_with_curves(record, semi)]
    if not groups:
        return []
    name = data_name(record)

    def draw() -> Figure:
        figure = Figure(figsize=(5.6 * len(groups), 5.6), layout='constrained')
        for semi, panel in zip(groups, figure.subplots(1, len(groups), squeeze=False)[0], strict=True):
            draw_group(panel, record, semi)
        return figure

    note = f'Mean over {len(record["pairs"])} pairs of the {record["split"]} split of {name}, of which the best counts.'
    return [PaperFigure(f'validation_{name}', f'{VALIDATION_TITLE} ({name})', draw, (note,), origin_of(record))]


def gates_over_training(record: Mapping[str, Any], rows: Mapping[str, str]) -> PaperFigure | None:
    """Return the mean weights of the gates against steps of rows that were validated several times.

    Args:
        record: Record of trained rows.
        rows: Titles of the rows to draw by name; those without gates are left out.

    Returns:
        The figure; None where no row has gates that were followed.
    """
    curves = {
        title: record['rows'][name]['validation']
        for name, title in rows.items()
        if name in record['rows'] and _gates(record['rows'][name].get('validation', ()))
    }
    if not curves:
        return None
    name = data_name(record)
    return PaperFigure(
        f'gates_over_training_{name}',
        f'Table 8 over training: mean weight of the fusion branch at each gate ({name})',
        lambda: _draw_gates(curves),
        ('Gates start at 0.5. Means over voxels, channels and the validation pairs.',),
        origin_of(record),
    )


def _draw_gates(curves: Mapping[str, Any]) -> Figure:
    figure = Figure(figsize=(4.6 * len(curves) + 0.9, 3.9), layout='constrained')
    for axes, (title, curve) in zip(
        figure.subplots(1, len(curves), sharey=True, squeeze=False)[0], curves.items(), strict=True
    ):
        for number, gate in enumerate(_gates(curve)):
            points = [(point['step'], point[gate]) for point in curve if point.get(gate) is not None]
            steps, values = zip((0, 0.5), *points, strict=True)
            colour = on_white(PALETTE[number % len(PALETTE)])
            axes.plot(steps, values, 'o-', color=colour, markersize=3, label=gate.replace(GATE, 'level '))
        axes.axhline(0.5, color='0.7', linewidth=0.8, linestyle='--', zorder=0)
        axes.set_title(title, fontsize=10)
        finish_axes(axes, 'step')
    axes.legend(frameon=False, fontsize=8, loc='center left', bbox_to_anchor=(1.0, 0.5))
    return figure


def _gates(curve: Any) -> list[str]:
    return sorted({name for point in curve for name in point if name.startswith(GATE)})


def _spread(values: np.ndarray | None) -> str:
    return '–' if values is None else spread(values).text(1)


def _gain(points: Mapping[str, Mapping[int, np.ndarray]], count: int) -> str:
    both = [line.get(count) for line in points.values()]
    return '–' if any(value is None for value in both) else f'{np.nanmean(both[0]) - np.nanmean(both[1]):+.1f}'
