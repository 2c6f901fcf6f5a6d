"""A teacher: the velocity field of each training pair, optimised once and kept."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.data.frame_store import FrameStore
from autofuse_jax.data.manifests import Manifest, read_manifest
from autofuse_jax.data.pair_policies import ed_es_pairs
from autofuse_jax.data.pairs import Pair, labelled_subject_ids
from autofuse_jax.data.teacher_fields import data_hash, field_shape, write_field, write_record
from autofuse_jax.errors import UserError
from autofuse_jax.files import json_types
from autofuse_jax.metrics.warping import warp_labels
from autofuse_jax.preparation.label_overlap import label_overlap
from autofuse_jax.preparation.output_folder import prepared_folder
from autofuse_jax.registration.guide import GridGuide
from autofuse_jax.registration.instance import InstanceResult, InstanceSettings, optimise_instance

# On half the grid and a quarter of it, with velocities as coarse as those of a network whose fusion branch works on
# half the grid. Both directions count, because one field serves both.
SETTINGS = InstanceSettings(shrink=(4, 2), steps=(60, 40), guide=3.0, guided_velocity_shrink=2, inverse=1.0)


def teach(data: Path, out: Path, *, labelled: int = 0, seed: int = 0) -> None:
    """Write the fields of all ED and ES pairs of the training subjects.

    Args:
        data: Folder of the prepared data.
        out: Folder of the fields; made if missing.
        labelled: Number of training subjects whose labels guide, see `labelled_subject_ids`; default 0: none.
        seed: Seed of their choice.

    Raises:
        UserError: The data is wrong, or has no such pairs, or the folder holds fields of other settings.
        OSError: The folder cannot be written.
    """
    manifest = read_manifest(data)
    subjects = manifest.subjects_of('train')
    labelled_ids = labelled_subject_ids(subjects, count=labelled, seed=seed)
    # Of both directions the first.
    pairs = ed_es_pairs(subjects, labelled_ids)[::2]
    if not pairs:
        raise UserError(f'no training subject in {data} has an ED and an ES frame', fix='prepare data that has them')
    about = {
        'labelled_subjects': sorted(labelled_ids),
        # As they are read back.
        'settings': json_types(dataclasses.asdict(SETTINGS)),
        'pairs': [pair.name for pair in pairs],
    }
    # Fields of other settings must not be taken for these.
    with prepared_folder(out, [data], about | {'data': data_hash(manifest)}, overwrite=None):
        _teach_pairs(out, manifest, pairs, about)


def _teach_pairs(out: Path, manifest: Manifest, pairs: Sequence[Pair], about: dict[str, Any]) -> None:
    store = FrameStore(manifest, manifest.shape, cache_gib=0.0)
    for number, pair in enumerate(pairs, 1):
        path = out / f'{pair.name}.npz'
        if path.is_file():
            continue
        result, before, after = teach_pair(manifest, store, pair)
        write_field(out, pair.name, result.velocity)
        print(f'{number}/{len(pairs)} {pair.name}: DSC {100 * before:.1f} -> {100 * after:.1f} %', flush=True)
    shape = field_shape(out, pairs[0].name)
    write_record(out, manifest, about | {'velocity_shape': list(shape)})


def teach_pair(manifest: Manifest, store: FrameStore, pair: Pair) -> tuple[InstanceResult, float, float]:
    """Optimise one pair; labels guide where both frames have labels that may be used.

    Args:
        manifest: The prepared data.
        store: Its frames.
        pair: The pair.

    Returns:
        The result, and the DSC of the frames' labels before and after, NaN without labels.
    """
    (fixed, fixed_labels), (moving, moving_labels) = store.load(pair.fixed), store.load(pair.moving)
    classes = [label for label in manifest.classes if label != 0]
    guide = None
    if pair.fixed_has_labels and pair.moving_has_labels:
        guide = GridGuide(*(_shares(labels, classes) for labels in (fixed_labels, moving_labels)))
    result = optimise_instance(fixed, moving, SETTINGS, spacing=manifest.spacing, guide=guide)
    if fixed_labels is None or moving_labels is None:
        return result, float('nan'), float('nan')
    warped = warp_labels(moving_labels, result.displacement)
    before, after = (label_overlap(fixed_labels, labels, classes) for labels in (moving_labels, warped))
    return result, before, after


def _shares(labels: np.ndarray, classes: list[int]) -> np.ndarray:
    return np.stack([(labels == label).astype(np.float32) for label in classes], axis=-1)
