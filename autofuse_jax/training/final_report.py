"""The end of a run: scores of the chosen parameters, tables, pictures and one result record."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from autofuse_jax.data.pairs import Pair
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.evaluation.case_scores import Record
from autofuse_jax.evaluation.pair_data import PairData
from autofuse_jax.evaluation.pair_scores import name_structures
from autofuse_jax.evaluation.runs import Case
from autofuse_jax.files import json_types, write_json
from autofuse_jax.methods.base import Params
from autofuse_jax.metrics.folding import jacobian_determinant
from autofuse_jax.metrics.structures import structure_names
from autofuse_jax.metrics.warping import warp_image, warp_labels
from autofuse_jax.provenance import provenance
from autofuse_jax.reports.curves import curve_picture
from autofuse_jax.reports.pair_sheet import pair_sheet
from autofuse_jax.reports.registration_view import view_registration
from autofuse_jax.reports.summary import RunContent, summary_numbers
from autofuse_jax.reports.tables import PAGE_NAME, console_table, write_tables
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.metrics_log import METRICS_NAME, read_rows
from autofuse_jax.training.validation import summarise

RESULT_NAME = 'result.json'
CURVES_NAME = 'curves.png'
NAMES_NOTE = 'A pair X_to_Y registers the moving frame X to the fixed frame Y.'


def write_report(experiment: Experiment, params: Params, split: str, about: dict[str, Any]) -> dict[str, float]:
    """Score all pairs of a split and write the report of a run.

    Writes, under `evaluation_<split>/` of the run's folder: the tables of `reports.tables`, a PNG for each of some
    pairs, and `result.json`, the record of the whole run; in the run's folder: curves.png.

    Args:
        experiment: The run.
        params: Parameters of its method.
        split: Name of the split.
        about: Further content of the record: config, data, training.

    Returns:
        Means over the pairs, see `summarise`.
    """
    workdir, manifest, protocol = experiment.workdir, experiment.manifest, experiment.protocol
    folder = workdir / f'evaluation_{split}'
    predictor = experiment.predictor(split)
    picture_pairs = {pair.name: pair for pair in _spread(predictor.pairs, experiment.config.evaluation.pictures)}

    def draw(case: Case, pair: PairData, records: Mapping[str, Record]) -> None:
        if case.name not in picture_pairs:
            return
        volumes, displacement = predictor.volumes(picture_pairs[case.name]), pair.displacement
        moving, moving_labels = volumes['moving'], volumes['moving_labels']
        warped_labels = None if moving_labels is None else warp_labels(moving_labels, displacement)
        registration = view_registration(
            fixed=volumes['fixed'],
            before=moving,
            after=warp_image(moving, displacement),
            displacement=displacement,
            jacobian=jacobian_determinant(displacement),
            # The frames in memory have lost where they lie in space, which pictures turn to the patient's sides.
            affine=load_frame(manifest, picture_pairs[case.name].fixed).affine,
            labels=(volumes['fixed_labels'], moving_labels, warped_labels),
        )
        pair_sheet(
            folder / 'pictures' / f'{case.name}.png',
            registration,
            title=case.name.replace('_', ' '),
            names=structure_names(manifest.scored_classes, manifest.scored_classes),
            record=records[protocol.name],
        )

    records = experiment.score(predictor, params, draw)
    origin = provenance()
    content = RunContent(
        records,
        name_structures(protocol, manifest.scored_classes, records),
        title=f'{manifest.dataset}, {split} split',
        facts={
            'data': f'{manifest.dataset}, {len(manifest.subjects_of(split))} subjects, {len(records)} pairs',
            'grid': f'{manifest.shape} voxels of {manifest.spacing} mm',
            'steps': about.get('steps'),
            'commit': origin['commit'],
            'date': origin['date'],
        },
        protocol=protocol.as_record(),
        notes=(NAMES_NOTE,),
    )
    write_tables(folder, content)
    write_json(folder / RESULT_NAME, json_types(origin | about | {'split': split, 'scores': summary_numbers(content)}))
    rows = read_rows(workdir / METRICS_NAME)
    if rows:
        curve_picture(workdir / CURVES_NAME, _curve_rows(rows))
    print(console_table(content))
    print(f'report:   {folder / PAGE_NAME}')
    if picture_pairs:
        print(f'pictures: {folder / "pictures"}')
    return summarise(records)


def _spread(pairs: Sequence[Pair], count: int) -> Sequence[Pair]:
    """Some pairs, spread evenly over the list; -1 means all."""
    if count < 0 or count >= len(pairs):
        return pairs
    return [pairs[position] for position in np.linspace(0, len(pairs) - 1, count).round().astype(int)]


def _curve_rows(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [
        {'step': row['step'], 'validation_dsc': row['dsc_after']} if row['kind'] == 'validation' else row
        for row in rows
    ]
