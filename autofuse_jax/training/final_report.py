"""The end of a run: scores of the chosen parameters, tables, pictures and one result record."""

from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.pairs import Pair
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.files import json_types, write_json
from autofuse_jax.methods.base import Params
from autofuse_jax.metrics.folding import jacobian_determinant
from autofuse_jax.metrics.warping import warp_image, warp_labels
from autofuse_jax.provenance import provenance
from autofuse_jax.reports.curves import curve_picture
from autofuse_jax.reports.pair_sheet import pair_sheet
from autofuse_jax.reports.registration_view import view_registration
from autofuse_jax.reports.summary import summary_numbers
from autofuse_jax.reports.tables import console_table, write_records
from autofuse_jax.training.metrics_log import METRICS_NAME, read_rows
from autofuse_jax.training.validation import PairScorer, Record, summarise

RESULT_NAME = 'result.json'
CURVES_NAME = 'curves.png'


def write_report(
    workdir: Path,
    *,
    scorer: PairScorer,
    params: Params,
    split: str,
    pictures: int,
    about: dict[str, Any],
) -> dict[str, float]:
    """Score all pairs of a split and write the report of a run.

    Writes, under `workdir/evaluation_<split>/`: pairs.csv, pairs.json, summary.md, a PNG for each of some pairs, and
    `result.json`, the record of the whole run; under `workdir/`: curves.png.

    Args:
        workdir: The run's folder.
        scorer: Scores the pairs of the split.
        params: Parameters of the method.
        split: Name of the split.
        pictures: Number of pairs drawn, spread evenly over the list; -1 means all.
        about: What else belongs into the record: config, data, training.

    Returns:
        Means over the pairs, see `summarise`.
    """
    folder = workdir / f'evaluation_{split}'
    manifest = scorer.manifest
    drawn = _spread(scorer.pairs, pictures)

    def draw(pair: Pair, record: Record, displacement: np.ndarray) -> None:
        if pair.name in drawn:
            volumes = scorer.volumes(pair)
            moving, moving_labels = volumes['moving'], volumes['moving_labels']
            warped_labels = None if moving_labels is None else warp_labels(moving_labels, displacement)
            registration = view_registration(
                fixed=volumes['fixed'],
                before=moving,
                after=warp_image(moving, displacement),
                displacement=displacement,
                jacobian=jacobian_determinant(displacement),
                # The frames in memory have lost where they lie in space, which pictures turn to the patient's sides.
                affine=load_frame(manifest, pair.fixed).affine,
                labels=(volumes['fixed_labels'], moving_labels, warped_labels),
            )
            names = {label: name for label, name in manifest.scored_classes.items() if label}
            title = pair.name.replace('_', ' ')
            pair_sheet(folder / 'pictures' / f'{pair.name}.png', registration, title=title, names=names, record=record)

    records = scorer.score(params, on_pair=draw)
    origin = provenance()
    header = {
        'title': f'{manifest.dataset}, {split} split',
        'data': f'{manifest.dataset}, {len(manifest.subjects_of(split))} subjects, {len(records)} pairs',
        'grid': f'{manifest.shape} voxels of {manifest.spacing} mm',
        'steps': about.get('steps'),
        'commit': origin['commit'],
        'date': origin['date'],
    }
    write_records(folder, records, manifest.scored_classes, header)
    means = summarise(records)
    write_json(
        folder / RESULT_NAME,
        json_types(origin | about | {'split': split, 'scores': summary_numbers(records, manifest.scored_classes)}),
    )
    rows = read_rows(workdir / METRICS_NAME)
    if rows:
        curve_picture(workdir / CURVES_NAME, _curve_rows(rows))
    print(console_table(records, manifest.scored_classes))
    print(f'report:   {folder / "summary.md"}')
    if drawn:
        print(f'pictures: {folder / "pictures"}')
    return means


def _spread(pairs: tuple[Pair, ...], count: int) -> frozenset[str]:
    if count < 0 or count >= len(pairs):
        return frozenset(pair.name for pair in pairs)
    return frozenset(pairs[position].name for position in np.linspace(0, len(pairs) - 1, count).round().astype(int))


def _curve_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {'step': row['step'], 'validation_dsc': row['dsc_after']} if row['kind'] == 'validation' else row
        for row in rows
    ]
