"""One pair, five places that score it: validation, the report of a run, `evaluate`, `register` and `prepare`."""

import json

import jax.numpy as jnp
import nibabel as nib
import numpy as np
import pytest

from autofuse_jax.data.manifests import Manifest, write_manifest
from autofuse_jax.data.prepared import Grid
from autofuse_jax.data.volumes import Volume
from autofuse_jax.evaluate import main as evaluate
from autofuse_jax.methods.base import Method, Prediction
from autofuse_jax.preparation.one_cine import Job, prepare_subject
from autofuse_jax.preparation.sources import SourceFrame, SourceSubject
from autofuse_jax.registration.pipeline import RegistrationResult
from autofuse_jax.registration.results import write_results
from autofuse_jax.training.experiment import Experiment
from autofuse_jax.training.final_report import write_report
from autofuse_jax.transforms.grids import ImageGrid
from autofuse_jax.transforms.maps import AffineTransform, DenseTransform
from autofuse_jax.transforms.resampling import moving_positions, sample_image, sample_labels
from tests.light import light_config

SHAPE, SPACING = (16, 16, 16), (1.5, 2.0, 3.0)
AFFINE = np.diag([*SPACING, 1.0])
CLASSES = {0: 'background', 1: 'ring', 2: 'core', 3: 'nowhere'}
# Moving and fixed frame of the pair that all score.
PAIR = 's_ES_to_ED'


def labels_of(phase):
    """A core in a ring, which shrinks a little and moves until ES."""
    place = np.moveaxis(np.indices(SHAPE), 0, -1) - (7.5, 7.5, 7.5) - (0 if phase == 'ED' else 1)
    radius = np.linalg.norm(place, axis=-1)
    sizes = (5.5, 3.5) if phase == 'ED' else (5.0, 2.5)
    return ((radius < sizes[0]).astype(np.uint8) + (radius < sizes[1])).astype(np.uint8)


def image_of(phase):
    return (50.0 * labels_of(phase) + np.arange(SHAPE[2])).astype(np.float32)


def field():
    """Smooth, folded in places, and never half a voxel, so that no rounding decides."""
    x, y, z = (np.arange(size) / size * 2 * np.pi for size in SHAPE)
    wave = np.sin(3 * x)[:, None, None] * np.cos(y)[None, :, None] * np.ones(SHAPE[2])
    return np.stack([1.37 * wave + 0.61, 0.83 + 0 * wave, 0.71 * wave * np.sin(z)], axis=-1).astype(np.float32)


@pytest.fixture(scope='module')
def prepared(tmp_path_factory):
    """Prepared data of one subject, on the grid that its files have already, and what `prepare` says of it."""
    source, out = (tmp_path_factory.mktemp(name) for name in ('source', 'prepared'))
    frames = []
    for index, phase in enumerate(('ED', 'ES'), start=1):
        paths = [source / f'{name}_{phase}.nii.gz' for name in ('image', 'seg')]
        for path, array in zip(paths, (image_of(phase), labels_of(phase)), strict=True):
            nib.save(nib.Nifti1Image(array, AFFINE), path)
        frames.append(SourceFrame(index, phase, paths[0], None, paths[1]))
    grid = Grid(SHAPE, SPACING)
    outcome = prepare_subject(Job(SourceSubject('s', 'train', '', None, tuple(frames)), grid, tuple(CLASSES), {}, out))
    assert outcome.problems == ()
    write_manifest(Manifest(out, 'made_up', SHAPE, SPACING, CLASSES, (outcome.subject,), {}))
    return source, out, outcome


@pytest.fixture(scope='module')
def scored(prepared, tmp_path_factory):
    """What each place says of the pair."""
    source, root, outcome = prepared
    workdir = tmp_path_factory.mktemp('run')
    experiment = Experiment(light_config(root, data__source='prepared', evaluation__pictures=0), workdir)
    experiment.method = Method(
        'fixed field', lambda key, shape: {}, lambda phase: (), lambda *_: Prediction(jnp.asarray(field())[None]), False
    )
    validation = {record['pair']: record for record in experiment.score(experiment.predictor('train'), {})}
    write_report(experiment, {}, 'train', {})
    report = json.loads((workdir / 'evaluation_train' / 'pairs.json').read_text())

    fixed, moving = (
        Volume(image_of(phase), labels_of(phase).astype(np.int32), AFFINE, phase) for phase in ('ED', 'ES')
    )
    transform = DenseTransform(field(), AFFINE)
    positions = moving_positions(transform, ImageGrid(SHAPE, AFFINE), AFFINE)
    moved = sample_image(moving.image, positions), sample_labels(moving.labels, positions)
    result = RegistrationResult(fixed, moving, transform, transform, AffineTransform(np.eye(4)), *moved, (), 1.0)
    about = {
        role: {'file': str(source / f'image_{phase}.nii.gz'), 'labels_file': str(source / f'seg_{phase}.nii.gz')}
        for role, phase in (('fixed', 'ED'), ('moving', 'ES'))
    }
    register = write_results(workdir / 'registered' / PAIR, result, about=about, classes=CLASSES, page=False)['scores']
    assert evaluate([str(workdir / 'registered'), f'--out={workdir / "scores"}']) == 0
    return {
        'validation': json.loads(json.dumps(validation[PAIR])),
        'report': next(pair for pair in report['pairs'] if pair['pair'] == PAIR),
        'evaluate': json.loads((workdir / 'scores' / 'registered' / 'pairs.json').read_text())['pairs'][0],
        'register': register,
        'prepare': {'dsc_before': outcome.dice_before},
    }


def known(scores):
    """Scores of structures that are somewhere: only training lists those that are nowhere."""
    return {label: value for label, value in scores.items() if value is not None and value == value}


@pytest.mark.parametrize('place', ['validation', 'report', 'evaluate', 'register', 'prepare'])
def test_all_say_the_same(scored, place):
    reference, scores = scored['evaluate'], scored[place]
    assert 0.3 < reference['dsc_after'] < reference['dsc_before'] < 0.9 and reference['njd_percent'] > 0
    names = ['dsc_before'] if place == 'prepare' else ['dsc_before', 'dsc_after', 'njd_percent', 'sdlogj']
    assert {name: scores[name] for name in names} == {name: reference[name] for name in names}
    for name in [f'{name}_per_label' for name in names if name.startswith('dsc') and place != 'prepare']:
        assert known(scores[name]) == reference[name], name


def test_distances_are_those_of_evaluate(scored):
    for when in ('before', 'after'):
        for end in ('', '_per_label'):
            assert scored['register'][f'hd95_mm_{when}{end}'] == scored['evaluate'][f'hd95_mm_{when}{end}'] != 0
