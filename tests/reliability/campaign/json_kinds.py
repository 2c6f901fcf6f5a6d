"""Good files of every kind that is JSON, and how each is read."""

import dataclasses
import json
from unittest import mock

import numpy as np

from autofuse_jax.data.inputs import read_classes
from autofuse_jax.data.manifests import Frame, Manifest, Subject, read_manifest, write_manifest
from autofuse_jax.data.teacher_fields import open_teacher, write_record
from autofuse_jax.deployment.artefacts import load_exported, record_of
from autofuse_jax.evaluation.earlier_scores import open_scores
from autofuse_jax.evaluation.protocol_files import read_protocol
from autofuse_jax.evaluation.register_results import open_results
from autofuse_jax.evaluation.runs import Sources
from autofuse_jax.files import listed_files
from autofuse_jax.preparation.brain_labels import read_label_table
from autofuse_jax.preparation.splits import read_splits
from autofuse_jax.storage import locks
from autofuse_jax.storage.owners import this_process
from autofuse_jax.training.stored_config import read_config
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo, read_sidecar, write_sidecar
from autofuse_jax.weights.released import Description, file_hash, read_released, write_released
from tests.evaluation.made_results import write_result

AFFINE = np.diag([2.0, 2, 3, 1])


def manifest_of(root):
    frames = (Frame(1, 'ED', 'p1/frame_01.npz', True), Frame(2, '', 'p1/frame_02.npz', False))
    subjects = (Subject('p1', 'train', 'a', frames),)
    return Manifest(root, 'acdc', (8, 8, 4), (1.5, 1.5, 3.0), {0: 'background', 1: 'left'}, subjects, {'seed': 1})


def make_manifest(folder):
    return write_manifest(manifest_of(folder)), lambda path: read_manifest(path)


def make_teacher(folder):
    manifest = manifest_of(folder)
    write_manifest(manifest)
    write_record(folder, manifest, {'velocity_shape': [4, 4, 2], 'labelled_subjects': ['p1'], 'settings': {}})
    return folder / 'teacher.json', lambda path: open_teacher(path.parent, manifest)


def make_sidecar(folder):
    image = ImageRecord('a.nii.gz', ImageGrid((4, 5, 6), AFFINE))
    write_sidecar(folder / 'forward.nii.gz', TransformInfo(fixed=image, moving=image, settings={'steps': 3}))
    return folder / 'forward.json', lambda path: read_sidecar(path.with_suffix('.nii.gz'))


def make_weights(folder):
    path = folder / 'params.npz'
    write_released(path, {'a/kernel': np.ones((2, 2), np.float32)}, Description('autofuse', {'fusion': 'gate'}))
    return folder / 'params.json', lambda changed: read_released(path)


def make_export(folder):
    network = folder / 'net.stablehlo'
    network.write_bytes(b'no program')
    record = {'format': 'autofuse_jax exported network', 'format_version': 1, 'size': [16, 16, 16]}
    record |= {'sha256': {network.name: file_hash(network)}}
    return json_file(record_of(network), record), lambda path: load_exported(network)


def make_report(folder):
    result = write_result(folder / 'out', shift=0.0, data=folder / 'data')
    return result / 'report.json', lambda path: open_results(result, 'run', Sources())


def make_scores(folder):
    pair = {'pair': 'a', 'subject': 's', 'dsc_after': 0.5, 'dsc_after_per_label': {'1': 0.5, '2': None}, 'seconds': 1.0}
    content = {
        'pairs': [pair, pair | {'pair': 'b'}],
        'classes': {'1': 'left', '2': 'right'},
        'protocol': {'name': 'default'},
    }
    return json_file(folder / 'pairs.json', content), lambda path: open_scores(path.parent, 'run')


def make_lock(folder):
    record = dataclasses.asdict(this_process()) | {'process': 2**22 + 1, 'host': 'here', 'since': 'then'}
    path = json_file(folder / '.lock', record | {'command': 'register', 'nonce': 'a'})

    def read(changed):
        with mock.patch.object(locks, 'PATIENCE_SECONDS', 0.0), mock.patch.object(locks, 'LOOK_SECONDS', 0.0):
            with locks.locked(folder):
                pass

    return path, read


def make_config(folder):
    options = {'base_channels': 4, 'fusion': 'gate'}
    content = {'method': 'autofuse', 'model': options, 'loss': {'kl': 0.1}, 'inference': {'symmetric': False}}
    data = {'root': 'prepared', 'grid': [0, 0, 0], 'source': 'prepared'}
    more = {'phases': {'phase_1': {'steps': 3, 'pairs': 'ed_es'}}, 'optimizer': {'learning_rate': 1e-3}}
    content |= {
        'data': data,
        'training': {'batch_size': 1, 'devices': 0, 'depth_devices': 1, 'precision': 'default'},
        'evaluation': {'split': 'test'},
    } | more
    return json_file(folder / 'config.json', content), lambda path: read_config(path, of_run=True)


def json_file(path, content):
    path.write_text(json.dumps(content))
    return path


PROTOCOL = {'name': 'mine', 'labels': {'3': 'left'}, 'quantities': ['dsc'], 'surface': {'percentile': 95}}
# Each makes a good file in a folder and says how it is read.
JSON_KINDS = {
    'manifest': make_manifest,
    'teacher': make_teacher,
    'sidecar': make_sidecar,
    'weights': make_weights,
    'export': make_export,
    'report': make_report,
    'scores': make_scores,
    'config': make_config,
    'lock': make_lock,
    'label names': lambda folder: (json_file(folder / 'a.json', {'1': 'left', '2': 'right'}), read_classes),
    'protocol': lambda folder: (json_file(folder / 'a.json', PROTOCOL), lambda path: read_protocol(str(path))),
    'splits': lambda folder: (
        json_file(folder / 'a.json', {'train': ['a', 'b'], 'test': ['c']}),
        lambda path: read_splits(path, 'acdc'),
    ),
    'label table': lambda folder: (
        json_file(folder / 'a.json', {'17': {'name': 'Left-Hippocampus', 'class': 'Hippocampus'}, '85': 'Chiasm'}),
        read_label_table,
    ),
    'results': lambda folder: (json_file(folder / 'a.json', {'files': ['a.nii.gz', 'b/c.txt']}), listed_files),
}
