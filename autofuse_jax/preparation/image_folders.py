"""Finding images and optional label maps in a folder of one's own.

Recognised, the first that fits:

1. A BIDS tree, sub-ID/anat/sub-ID_T1w.nii.gz with ..._dseg.nii.gz there or in derivatives/, see `bids`.
2. images/NAME.nii.gz and labels/NAME.nii.gz (also imagesTr/ and labelsTr/, image/ and label/). Images without a label
   map are unlabelled.
3. SUBJECT/t1.nii.gz and SUBJECT/seg.nii.gz, at any depth; the names that count are IMAGE_STEMS and LABEL_STEMS below.
   The subject is called after its folder, and after those above where others are called the same.
4. Files side by side: NAME.nii.gz and NAME_seg.nii.gz; NAME.npz with `vol` and perhaps `seg`.

Which label map belongs to which image in 2 and 4 is in `label_words`: NAME_gt, NAME_mask and others, lab7 and img7,
NAME to nnU-Net's NAME_0000, whose further channels are left out. Files may be .nii.gz, .nii, .mgz or .npz
everywhere, in capitals too.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from autofuse_jax.data.formats import is_npz, stem_of
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.bids import find_bids
from autofuse_jax.preparation.found_brains import (
    FREESURFER_FOLDER,
    FREESURFER_IMAGES,
    ONE_NAME,
    FoundBrain,
    FoundBrains,
    first_file,
    image_files,
    image_files_below,
    in_order,
    names_below,
    some,
)
from autofuse_jax.preparation.label_words import (
    LABEL_WORDS,
    base_of,
    further_channels,
    is_label_name,
    key_of,
    match_labels,
)
from autofuse_jax.preparation.sources import Problem

IMAGE_FOLDERS = (('images', 'labels'), ('imagesTr', 'labelsTr'), ('image', 'label'))
IMAGE_STEMS = ('t1', 't1w', 'image', 'img', 'brain', 'norm', 'aligned_norm', 'vol')
LABEL_STEMS = ('seg', 'labels', 'label', 'segmentation', 'aligned_seg35', 'aparc+aseg', *LABEL_WORDS)


def find_folder(root: Path) -> FoundBrains:
    """List the images of a folder and the label maps that belong to them.

    Args:
        root: The folder.

    Returns:
        The source; label maps without an image are among the problems.

    Raises:
        UserError: Two images or two label maps have the same name.
    """
    bids = find_bids(root)
    if bids is not None:
        return bids
    for image_name, label_name in IMAGE_FOLDERS:
        if (root / image_name).is_dir():
            found = _find_parallel(root, image_name, label_name)
            if found.brains or found.problems:
                return found
    return _find_subject_folders(root) or _find_side_by_side(root)


def _find_parallel(root: Path, image_name: str, label_name: str) -> FoundBrains:
    files, label_folder = image_files(root / image_name), root / label_name
    stems = {stem_of(path) for path in files}
    # The folder says that these are images, unless the image is there, too.
    among = [path for path in files if base_of(stem_of(path)) in stems - {stem_of(path)}]
    labels = [*(image_files(label_folder) if label_folder.is_dir() else ()), *among]
    channels = set(further_channels(stems, [stem_of(path) for path in labels]))
    images = [path for path in files if path not in among and stem_of(path) not in channels]
    found = _paired(root, f'{image_name}/ and {label_name}/ with equal names', images, labels)
    if not channels:
        return found
    remark = f'not used, because they are further channels of images: {some(sorted(channels))}'
    return dataclasses.replace(found, remarks=(*found.remarks, remark))


def _find_subject_folders(root: Path) -> FoundBrains | None:
    found, problems, unknown = [], [], []
    for folder in sorted({path.parent for path in image_files_below(root)} - {root}):
        of_freesurfer = folder.name == FREESURFER_FOLDER
        # There t1 is the whole head, and norm the brain in the same intensities.
        stems = (*FREESURFER_IMAGES, *IMAGE_STEMS) if of_freesurfer else IMAGE_STEMS
        image, labels = first_file(folder, stems), first_file(folder, LABEL_STEMS)
        # The folder is called the same in all subjects.
        place = folder.parent if of_freesurfer and folder.parent != root else folder
        if image is not None:
            found.append((place, image, labels))
        elif labels is not None:
            wanted = ', '.join(stems)
            problems.append(Problem(place.name, f'the label map {labels} has no image beside it ({wanted})'))
        else:
            unknown.append(folder.relative_to(root).as_posix())
    if not found:
        return None
    places = [place for place, _, _ in found]
    names = names_below(root, places, [place.name for place in places])
    brains = [FoundBrain(name, image, labels) for name, (_, image, labels) in zip(names, found, strict=True)]
    remarks = (f'not used, because none of their files is called {", ".join(IMAGE_STEMS)}: {some(unknown)}',)
    return FoundBrains(
        'a folder a subject', in_order(brains, root), tuple(problems), remarks=remarks if unknown else ()
    )


def _find_side_by_side(root: Path) -> FoundBrains:
    files = image_files(root)
    labels = [path for path in files if is_label_name(stem_of(path))]
    images = [path for path in files if path not in labels]
    return _paired(root, 'images and label maps side by side', images, labels)


def _paired(root: Path, layout: str, images: Sequence[Path], labels: Sequence[Path]) -> FoundBrains:
    """Put images and label maps together by their names."""
    label_files: dict[str, Path] = {}
    for path in labels:
        other = label_files.setdefault(stem_of(path), path)
        if other != path:
            raise UserError(
                f'{root} holds two label maps of the name {stem_of(path)} ({other} and {path})', fix=ONE_NAME
            )
    label_of = match_labels([stem_of(path) for path in images], label_files)
    brains = [FoundBrain(stem_of(path), path, label_files.get(label_of.get(stem_of(path), ''))) for path in images]
    rest = [stem for stem in label_files if stem not in label_of.values()]
    labelled = {key_of(image) for image in label_of}
    others = [stem for stem in rest if base_of(stem) in label_of or key_of(stem) in labelled]
    lonely = [stem for stem in rest if stem not in others]
    problems = [
        Problem(base_of(stem), f'the label map {label_files[stem]} has no image of that name') for stem in lonely
    ]
    # An npz may hold its own.
    unlabelled = [brain.id for brain in brains if brain.labels is None and not is_npz(brain.image)]
    remarks = []
    if others:
        remarks.append(f'not used, because their images have another label map: {some(others)}')
    if lonely and unlabelled:
        remarks.append(f'prepared without labels, because no label map has their name: {some(unlabelled)}')
    return FoundBrains(layout, in_order(brains, root), tuple(problems), remarks=tuple(remarks))
