"""Finding images and optional label maps in a folder of one's own.

Recognised, the first that fits:

1. images/NAME.nii.gz and labels/NAME.nii.gz (also imagesTr/ and labelsTr/, image/ and label/). Equal names belong
   together; images without a label map are unlabelled.
2. SUBJECT/t1.nii.gz and SUBJECT/seg.nii.gz, at any depth; the names that count are IMAGE_STEMS and LABEL_STEMS below.
   The subject is called after its folder.
3. Files side by side: NAME.nii.gz and NAME_seg.nii.gz (also _labels, _label, -seg); NAME.npz with `vol` and
   perhaps `seg`.

Files may be .nii.gz, .nii, .mgz or .npz everywhere.
"""

import re
from pathlib import Path

from autofuse_jax.data.formats import stem_of
from autofuse_jax.preparation.found_brains import (
    FoundBrain,
    FoundBrains,
    first_file,
    image_files,
    image_files_below,
    in_order,
)
from autofuse_jax.preparation.sources import Problem

IMAGE_FOLDERS = (('images', 'labels'), ('imagesTr', 'labelsTr'), ('image', 'label'))
IMAGE_STEMS = ('t1', 'T1', 't1w', 'T1w', 'image', 'img', 'brain', 'norm', 'aligned_norm', 'vol')
LABEL_STEMS = ('seg', 'labels', 'label', 'segmentation', 'aligned_seg35', 'aparc+aseg', 'aseg')
LABEL_ENDING = re.compile(r'(.+)[_\-.](seg|labels?|segmentation)$', re.IGNORECASE)


def find_folder(root: Path) -> FoundBrains:
    """List the images of a folder and the label maps that belong to them.

    Args:
        root: The folder.

    Returns:
        The source; label maps without an image are among the problems.

    Raises:
        UserError: Two images have the same name.
    """
    for image_name, label_name in IMAGE_FOLDERS:
        if (root / image_name).is_dir():
            return _find_parallel(root, image_name, label_name)
    return _find_subject_folders(root) or _find_side_by_side(root)


def _find_parallel(root: Path, image_name: str, label_name: str) -> FoundBrains:
    label_folder = root / label_name
    labels = {stem_of(path): path for path in image_files(label_folder)} if label_folder.is_dir() else {}
    images = image_files(root / image_name)
    brains = [FoundBrain(stem_of(path), path, labels.pop(stem_of(path), None)) for path in images]
    problems = [Problem(name, f'the label map {path} has no image in {image_name}/') for name, path in labels.items()]
    return FoundBrains(f'{image_name}/ and {label_name}/ with equal names', in_order(brains, root), tuple(problems))


def _find_subject_folders(root: Path) -> FoundBrains | None:
    brains, problems = [], []
    for folder in sorted({path.parent for path in image_files_below(root)} - {root}):
        image, labels = first_file(folder, IMAGE_STEMS), first_file(folder, LABEL_STEMS)
        # mri/ is the same in all FreeSurfer subjects.
        name = folder.parent.name if folder.name == 'mri' and folder.parent != root else folder.name
        if image is not None:
            brains.append(FoundBrain(name, image, labels))
        elif labels is not None:
            problems.append(Problem(name, f'the label map {labels} has no image beside it ({", ".join(IMAGE_STEMS)})'))
    if not brains:
        return None
    return FoundBrains('a folder a subject', in_order(brains, root), tuple(problems))


def _find_side_by_side(root: Path) -> FoundBrains:
    images, labels = {}, {}
    for path in image_files(root):
        match = LABEL_ENDING.fullmatch(stem_of(path))
        if match:
            labels[match[1]] = path
        else:
            images[stem_of(path)] = path
    brains = [FoundBrain(name, path, labels.pop(name, None)) for name, path in images.items()]
    problems = [Problem(name, f'the label map {path} has no image {name}.nii.gz') for name, path in labels.items()]
    return FoundBrains('images and label maps side by side', in_order(brains, root), tuple(problems))
