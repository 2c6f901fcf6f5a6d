"""The end of a run: scores of the chosen parameters, tables, pictures and one result record."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
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
from autofuse_jax.sharding import replicated
from autofuse_jax.storage.swaps import replacing_folder
from autofuse_jax.training import checkpoint_folders, checkpoints
from autofuse_jax.training.distributed import is_first
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.metrics_log import METRICS_NAME, read_rows
from autofuse_jax.training.run_record import check_record
from autofuse_jax.training.stopping import SECONDS_PER_MINUTE
from autofuse_jax.training.validation import summarise
from autofuse_jax.weights.released import file_hash
from autofuse_jax.weights.shipped import weights_file

RESULT_NAME = 'result.json'
CURVES_NAME = 'curves.png'
NAMES_NOTE = 'A pair X_to_Y registers the moving frame X to the fixed frame Y.'


def report_run(experiment: Experiment) -> dict[str, float]:
    """Score the best parameters of a run on the evaluation split and write the report.

    Args:
        experiment: The run; where it has no checkpoint and its config names a file of weights, those are evaluated.

    Returns:
        Means over the pairs, see `summarise`.

    Raises:
        UserError: The checkpoint is wrong.
        OSError: The report could not be written.
    """
    config, workdir = experiment.config, experiment.workdir
    structure = experiment.state_structure()
    layout = replicated(experiment.mesh)
    split, manifest = config.evaluation.split, experiment.manifest
    if config.weights and checkpoint_folders.latest_step(workdir) is None:
        params, step, record = experiment.read_weights(layout), None, {'train_seconds': 0.0, 'labelled_subjects': None}
        print(f'evaluating {config.weights} on the {split} split', file=sys.stderr, flush=True)
    else:
        params, record, step = checkpoints.load_params(workdir, structure.params, layout)
        check_record(record, workdir)
        print(f'evaluating the parameters of step {step} on the {split} split', file=sys.stderr, flush=True)
    weights = None
    if config.weights:
        weights = {'file': config.weights, 'sha256': file_hash(weights_file(config.weights))}
    about = {
        'config': experiment.resolved,
        'steps': step,
        'weights': weights,
        'parameters': sum(leaf.size for leaf in jax.tree.leaves(structure.params)),
        'training_minutes': round(record['train_seconds'] / SECONDS_PER_MINUTE, 2),
        'data': {
            'dataset': manifest.dataset,
            'shape': manifest.shape,
            'spacing_mm': manifest.spacing,
            'settings': manifest.settings,
            'train_subjects': len(manifest.subjects_of('train')),
            'labelled_train_subjects': record['labelled_subjects'],
            'evaluated_subjects': [subject.id for subject in manifest.subjects_of(split)],
        },
    }
    if not is_first():
        # All processes compute together, one writes.
        return summarise(experiment.score(experiment.predictor(split), params))
    return write_report(experiment, params, split, about)


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
    workdir = experiment.workdir
    folder = workdir / f'evaluation_{split}'
    with replacing_folder(folder, RESULT_NAME) as temporary:
        content, records, pictures = _write_scores(temporary, experiment, params, split, about)
    rows = read_rows(workdir / METRICS_NAME)
    if rows:
        phases = {phase.name: phase.first for phase in experiment.phases}
        curve_picture(workdir / CURVES_NAME, _curve_rows(rows), phases=phases)
    print(console_table(content))
    print(f'report:   {folder / PAGE_NAME}')
    if pictures:
        print(f'pictures: {folder / "pictures"}')
    return summarise(records)


def _write_scores(
    folder: Path, experiment: Experiment, params: Params, split: str, about: dict[str, Any]
) -> tuple[RunContent, list[Record], int]:
    """Score all pairs and write tables, pictures and result record; return content, records and number of pictures."""
    manifest, protocol = experiment.manifest, experiment.protocol
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
    return content, records, len(picture_pairs)


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
