"""The frontier of DSC against CPU seconds: every route to a registration, on the same pairs."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from autofuse_jax.errors import UserError
from autofuse_jax.reports.colours import PALETTE, on_white
from autofuse_jax.reports.curves import finish_axes
from autofuse_jax.reports.summary import spread
from experiments.comparison.compare_with_syn import AFFINE, BEFORE, BOTH, GUIDED, INSTANCE, NETWORK, SYN, WITH_STEPS
from experiments.paper.outputs import PaperFigure, PaperTable
from experiments.paper.printed import printed_number

# Words in tables and in the picture, short enough to stand beside a point.
WORDS = {
    AFFINE: 'affine alone',
    NETWORK: 'network',
    INSTANCE: 'instance optimisation',
    BOTH: 'network, then instance',
    GUIDED: 'segmentation guides instance',
    SYN: 'SyN',
}
# Routes of one kind have one colour and are joined by a line.
KINDS = (AFFINE, NETWORK, INSTANCE, BOTH, GUIDED, SYN)
MARKERS = 'ovsDPX'
# Where the number of steps stands, in points from its marker: above, of instance optimisation alone on its left, where
# the step line to it does not pass.
ABOVE, LEFT = (0, 7), (-11, 3)
NOTE = (
    'CPU seconds are processor seconds of all cores, alignment included, as measured on each pair; the routes were '
    'run in turn, and what is of another date is of the code and the machine of that date, too. "n steps": at most so '
    'many at all levels together; without it the default. Small numbers in the picture are such steps.'
)
Points = dict[str, tuple[np.ndarray, np.ndarray]]


def common_routes(records: Mapping[str, Mapping[str, Any]], pairs: Sequence[str]) -> Points:
    """Return DSC in percent and processor seconds of every route that was run on all of some pairs.

    Args:
        records: Records of `compare_with_syn`; of a route in several, the first counts.
        pairs: Names of the pairs.
    """
    points: Points = {}
    for record in records.values():
        for route in record['summary']:
            found = [record['records'].get(pair, {}).get(route) for pair in pairs]
            if route == BEFORE or route in points or any(one is None for one in found):
                continue
            dsc = np.array([100 * one['dsc'] for one in found])
            points[route] = dsc, np.array([one['processor_seconds'] for one in found])
    return dict(sorted(points.items(), key=lambda item: item[1][1].mean()))


def on_the_frontier(points: Points) -> set[str]:
    """Return the routes than which none is both faster and better, of `common_routes`."""
    best, routes = -np.inf, set()
    for route, (dsc, _) in points.items():
        if dsc.mean() > best:
            best, routes = dsc.mean(), routes | {route}
    return routes


def frontier(records: Mapping[str, Mapping[str, Any]]) -> list[PaperFigure | PaperTable]:
    """Return the frontier on all pairs and, where SyN was run on some, on those.

    Args:
        records: Records of `compare_with_syn` on the same data by name.

    Raises:
        UserError: They are of different pairs.
    """
    first = next(iter(records.values()))
    pairs = first['data']['pairs']
    for name, record in records.items():
        if record['data']['pairs'] != pairs:
            raise UserError(
                f'the routes of {name} were scored on other pairs than those of {next(iter(records))}',
                expected='records of the same pairs',
                fix='run compare_with_syn again on one split',
            )
    with_syn = [pair for pair in pairs if any(SYN in record['records'][pair] for record in records.values())]
    groups = {f'all {len(pairs)} pairs': common_routes(records, pairs)}
    if 0 < len(with_syn) < len(pairs):
        groups[f'the {len(with_syn)} pairs with SyN'] = common_routes(records, with_syn)
    task = first['data']['task']
    origin = {
        'command': '; '.join(f'`{record["command"]}`' for record in records.values()),
        'data': f'{task}, {first["data"]["split"]} split',
        'date': ', '.join(dict.fromkeys(record['date'][:10] for record in records.values())),
        'commit': ', '.join(dict.fromkeys(str(record['commit']) for record in records.values())),
    }
    title = f'Frontier: DSC against CPU seconds of every route ({task})'
    rows = [
        [group, words_of(route), *_numbers(values), 'yes' if route in on_the_frontier(points) else '']
        for group, points in groups.items()
        for route, values in points.items()
    ]
    notes = (NOTE, _paper_note()) if task == 'acdc' else (NOTE,)
    head = ['pairs', 'route', 'CPU s a pair', 'DSC %', 'on the frontier']
    return [
        PaperFigure(f'frontier_{task}', title, lambda: draw_frontier(groups), notes, origin),
        PaperTable(f'frontier_{task}_numbers', f'{title}, numbers', head, rows, notes, origin),
    ]


def draw_frontier(groups: Mapping[str, Points]) -> Figure:
    """Draw a panel for each group of pairs, time on a logarithmic axis, and one legend of all routes.

    Args:
        groups: Results of `common_routes` by title.
    """
    figure = Figure(figsize=(5.2 * len(groups) + 2.6, 4.4), layout='constrained')
    legend: dict[str, Line2D] = {}
    for axes, (title, points) in zip(figure.subplots(1, len(groups), squeeze=False)[0], groups.items(), strict=True):
        best = [_place(points[route]) for route in points if route in on_the_frontier(points)]
        axes.step(*zip(*best, strict=True), where='post', color='0.8', linewidth=1.2, zorder=0)
        for number, kind in enumerate(KINDS):
            routes = [route for route in points if route.split(WITH_STEPS)[0] == kind]
            if not routes:
                continue
            places = [_place(points[route]) for route in routes]
            colour = on_white(PALETTE[number % len(PALETTE)])
            style = {'color': colour, 'marker': MARKERS[number], 'markersize': 7, 'linewidth': 1.0}
            (legend[WORDS[kind]],) = axes.plot(*zip(*places, strict=True), **style)
            for route, place in zip(routes, places, strict=True):
                steps = route.partition(WITH_STEPS)[2].removesuffix(' steps')
                axes.annotate(
                    steps,
                    place,
                    LEFT if kind == INSTANCE else ABOVE,
                    textcoords='offset points',
                    fontsize=7,
                    color=colour,
                    ha='center',
                )
        axes.set_xscale('log')
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda seconds, _: f'{seconds:g}'))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.margins(x=0.12, y=0.1)
        axes.set_title(title, fontsize=10)
        axes.set_ylabel('DSC %')
        finish_axes(axes, 'CPU seconds a pair')
    figure.legend(legend.values(), legend.keys(), loc='outside right center', frameon=False, fontsize=9)
    return figure


def _paper_note() -> str:
    """Say what the paper measured of routes on hearts."""
    parts = [
        f'{words} {printed_number("2", row, "dsc_percent", "acdc"):.1f} % in '
        f'{printed_number("2", row, "cpu_seconds"):g} CPU seconds'
        for row, words in (('syn', 'SyN'), ('autofuse', 'AutoFuse'))
    ]
    return f'The paper, on other patients and another machine: {", ".join(parts)}.'


def _place(values: tuple[np.ndarray, np.ndarray]) -> tuple[float, float]:
    return float(values[1].mean()), float(values[0].mean())


def words_of(route: str) -> str:
    """Return what a route is called in tables and pictures."""
    kind, separator, steps = route.partition(WITH_STEPS)
    return WORDS.get(kind, kind) + (f', {steps}' if separator else '')


def _numbers(values: tuple[np.ndarray, np.ndarray]) -> list[str]:
    dsc, seconds = values
    return [f'{seconds.mean():.1f}', spread(dsc).text(1)]
