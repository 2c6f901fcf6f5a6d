"""Small prepared folders for the tables of the paper, and trainings that leave their files without training."""

import dataclasses
import json
from pathlib import Path

from autofuse_jax.data.manifests import Manifest, write_manifest
from autofuse_jax.data.open_dataset import open_dataset
from autofuse_jax.files import write_json, write_text
from autofuse_jax.records.run_folder import CONFIG_NAME
from autofuse_jax.training.metrics_log import METRICS_NAME

PHANTOMS = {'train': 3, 'validation': 2, 'test': 2, 'frames': 4, 'shape': (32, 32, 16)}
# Pairs of the stand-in for a training.
PAIRS = [{'pair': f'p{number}_to_q{number}', 'subject': f'q{number}'} for number in range(6)]
MEASURES = {'njd_percent': 0.01, 'sdlogj': 0.2}


def hearts(root: Path) -> Manifest:
    """Make prepared hearts with ED, ES and frames between them."""
    return open_dataset('phantom', root, PHANTOMS)


def brains(root: Path, name: str) -> Manifest:
    """Make a folder that looks like prepared brains: one frame a subject, without a phase."""
    manifest = hearts(root)
    subjects = tuple(
        dataclasses.replace(one, frames=(dataclasses.replace(one.frames[0], phase=''),)) for one in manifest.subjects
    )
    manifest = dataclasses.replace(manifest, dataset=name, subjects=subjects)
    write_manifest(manifest)
    return manifest


def stand_in(dsc_of, pairs=PAIRS):
    """Return a function in the place of `train_and_evaluate` that writes what a training leaves.

    Args:
        dsc_of: Function from a config to the DSC of its pairs.
        pairs: Pairs that it scores.
    """

    def train(config, folder):
        write_text(folder / CONFIG_NAME, config.to_json_best_effort())
        dsc = dsc_of(config)
        spread = {'deviation': 0.05, 'count': len(pairs)}
        scores = {'dsc_before': {'mean': 0.6} | spread, 'dsc_after': {'mean': dsc} | spread}
        evaluation = folder / f'evaluation_{config.evaluation.split}'
        write_json(
            evaluation / 'result.json',
            {
                'parameters': 1000,
                'training_minutes': 1.0,
                'scores': scores | {name: {'mean': value} | spread for name, value in MEASURES.items()},
                'commit': None,
                'machine': {'devices': '1 x cpu'},
                'date': '2026-01-01',
                'steps': 10,
            },
        )
        scored = [
            pair | MEASURES | {'dsc_after': dsc + 0.001 * number, 'seconds': 0.1, 'first_call': number == 0}
            for number, pair in enumerate(pairs)
        ]
        write_json(evaluation / 'pairs.json', {'pairs': scored})
        rows = [
            {'step': step, 'kind': 'validation', 'dsc_after': dsc, 'gate_2': 0.5 + step / 100} | MEASURES
            for step in (5, 10)
        ]
        write_text(folder / METRICS_NAME, ''.join(json.dumps(row) + '\n' for row in rows))
        return {'dsc_after': dsc}

    return train
