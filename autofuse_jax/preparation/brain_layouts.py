"""Finding the subjects of public brain data sets in the folders as they are downloaded.

* oasis: OASIS_OAS1_0001_MR1/{aligned_norm.nii.gz, aligned_seg35.nii.gz} (neurite-OASIS, the Learn2Reg download too).
* mindboggle: any depth of SUBJECT/{t1weighted_brain.nii.gz, labels.DKT31.manual+aseg.nii.gz}; without `+aseg`, or the
  MNI152 versions of both, where the others are absent.
* buckner: FreeSurfer folders SUBJECT/mri/{norm.mgz, aparc+aseg.mgz}; also brain.mgz, brainmask.mgz, aseg.mgz.
* ixi: IXI002-Guys-0828-T1.nii.gz and so on, at any depth.
* adni, abide, adhd: T1w images anywhere below the folder, an image a subject.
* folder: see autofuse_jax/preparation/image_folders.py.

A Learn2Reg `dataset.json`, and the npz files and pair lists of the official code, are recognised under every name.
"""

import dataclasses
import os
import re
from collections.abc import Callable
from pathlib import Path

from autofuse_jax.choices import ABIDE, ADHD, ADNI, BUCKNER, FOLDER, IXI, MINDBOGGLE, OASIS
from autofuse_jax.data.formats import is_npz, stem_of
from autofuse_jax.errors import UserError
from autofuse_jax.preparation.authors_pairs import find_npz_with_pairs
from autofuse_jax.preparation.found_brains import (
    FREESURFER_FOLDER,
    FREESURFER_IMAGES,
    FoundBrain,
    FoundBrains,
    first_file,
    image_files_below,
    in_hidden_folder,
    in_order,
    names_below,
    unused_links,
)
from autofuse_jax.preparation.image_folders import find_folder
from autofuse_jax.preparation.learn2reg_dataset import find_learn2reg
from autofuse_jax.preparation.sources import Problem

OASIS_IMAGES, OASIS_LABELS = ('aligned_norm',), ('aligned_seg35',)
# (image, label maps in order of preference); native space first, because it is interpolated once only.
MINDBOGGLE_FILES = (
    ('t1weighted_brain', ('labels.DKT31.manual+aseg', 'labels.DKT31.manual')),
    ('t1weighted_brain.MNI152', ('labels.DKT31.manual+aseg.MNI152', 'labels.DKT31.manual.MNI152')),
)
FREESURFER_LABELS = ('aparc+aseg', 'aparc.DKTatlas+aseg', 'aseg')
IXI_NAME = re.compile(r'(IXI\d+.*)-T1$', re.IGNORECASE)
# Words of a path, between separators.
T1_WORDS = re.compile(r'(^|[^a-z])(t1w?|mp-?rage|ir-?fspgr|spgr|anat)([^a-z]|$)', re.IGNORECASE)
OTHER_WORDS = re.compile(
    r'(^|[^a-z])(mask|seg|labels?|aseg|rest|bold|func|dwi|dti|flair|t2w?|pd)([^a-z]|$)', re.IGNORECASE
)


def find_brains(dataset: str, root: str | os.PathLike) -> FoundBrains:
    """List the images and label maps of a brain data set without opening them.

    Args:
        dataset: A key of `BRAIN_FINDERS`.
        root: Its folder.

    Returns:
        The source.

    Raises:
        UserError: The folder does not exist, or holds nothing of that layout.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f'there is no folder {root}', fix='correct --source')
    find, expected = BRAIN_FINDERS[dataset]
    for find_in in (find_learn2reg, find_npz_with_pairs, find):
        source = find_in(root)
        # A description that lists nothing, such as that of nnU-Net, leaves the folder to the next finder.
        if source is not None and (source.brains or source.problems):
            return dataclasses.replace(source, remarks=(*source.remarks, *unused_links(root, source.brains)))
    links = ''.join(f'; {sentence}' for sentence in unused_links(root, ()))
    raise UserError(
        f'{root} holds no images of the layout {dataset!r}{links}', expected=expected, fix='correct --source'
    )


def find_oasis(root: Path) -> FoundBrains:
    """List the subjects of neurite-OASIS."""
    folders = [root, *_folders_below(root, 'OASIS_OAS1_*')]
    brains, problems = [], []
    for folder in sorted(folders):
        image, labels = first_file(folder, OASIS_IMAGES), first_file(folder, OASIS_LABELS)
        if image is not None:
            brains.append(FoundBrain(folder.resolve().name, image, labels))
        elif folder != root:
            problems.append(Problem(folder.name, f'there is no file {folder / OASIS_IMAGES[0]}.nii.gz'))
    return FoundBrains('neurite-OASIS folders', in_order(brains, root), tuple(problems))


def find_mindboggle(root: Path) -> FoundBrains:
    """List the subjects of Mindboggle-101."""
    folders = sorted({path.parent for path in image_files_below(root)})
    brains, problems = [], []
    for folder in folders:
        for image_stem, label_stems in MINDBOGGLE_FILES:
            image, labels = first_file(folder, (image_stem,)), first_file(folder, label_stems)
            if image is not None and labels is not None:
                brains.append(FoundBrain(folder.resolve().name, image, labels))
                break
        else:
            if any(first_file(folder, (image,)) for image, _ in MINDBOGGLE_FILES):
                names = ' or '.join(f'{labels[0]}.nii.gz' for _, labels in MINDBOGGLE_FILES)
                problems.append(Problem(folder.name, f'{folder} has no label map beside the image ({names})'))
    return FoundBrains('Mindboggle-101 folders', in_order(brains, root), tuple(problems))


def find_freesurfer(root: Path) -> FoundBrains:
    """List the subjects of a folder of FreeSurfer subjects."""
    brains, problems = [], []
    own = [root] if root.name == FREESURFER_FOLDER else []
    for folder in sorted([*own, *_folders_below(root, FREESURFER_FOLDER)]):
        name = folder.resolve().parent.name
        image, labels = first_file(folder, FREESURFER_IMAGES), first_file(folder, FREESURFER_LABELS)
        if image is not None:
            brains.append(FoundBrain(name, image, labels))
        else:
            problems.append(Problem(name, f'there is no file {folder / FREESURFER_IMAGES[0]}.mgz'))
    return FoundBrains('FreeSurfer subject folders', in_order(brains, root), tuple(problems))


def find_ixi(root: Path) -> FoundBrains:
    """List the T1w images of IXI."""
    brains = []
    for path in image_files_below(root):
        match = IXI_NAME.fullmatch(stem_of(path))
        if match:
            brains.append(FoundBrain(match[1], path, None))
    return FoundBrains('IXI T1w files', in_order(brains, root))


def find_t1w_tree(root: Path) -> FoundBrains:
    """List the T1w images below a folder; where no path says T1w, all images that no path says are something else."""
    # Frames that were prepared into a folder below the source are npz files, and no images of it.
    images = [path for path in image_files_below(root) if not is_npz(path)]
    files = [path for path in images if not OTHER_WORDS.search(_words(path, root))]
    t1w_files = [path for path in files if T1_WORDS.search(_words(path, root))]
    images = t1w_files or files
    # 'mprage.nii.gz' in every folder: then the folders make the name.
    names = names_below(root, images, [stem_of(path) for path in images])
    brains = [FoundBrain(name, path, None) for name, path in zip(names, images, strict=True)]
    rule = 'T1w images by name' if t1w_files else 'all images'
    return FoundBrains(f'{rule} below the folder, one a subject', in_order(brains, root))


def _folders_below(root: Path, name: str) -> list[Path]:
    return [path for path in root.rglob(name) if path.is_dir() and not in_hidden_folder(path, root)]


def _words(path: Path, root: Path) -> str:
    """Return a path below the root with its separators as spaces."""
    relative = path.relative_to(root)
    return ' '.join([*relative.parts[:-1], stem_of(path)])


T1W_TREE = (find_t1w_tree, 'T1w images (.nii.gz, .nii, .mgz) anywhere below it')
# Name on the command line: the finder, and what it looks for.
BRAIN_FINDERS: dict[str, tuple[Callable[[Path], FoundBrains], str]] = {
    OASIS: (find_oasis, 'folders OASIS_OAS1_0001_MR1/ with aligned_norm.nii.gz and aligned_seg35.nii.gz'),
    MINDBOGGLE: (find_mindboggle, 'folders with t1weighted_brain.nii.gz and labels.DKT31.manual+aseg.nii.gz'),
    BUCKNER: (find_freesurfer, 'FreeSurfer folders SUBJECT/mri/ with norm.mgz and aparc+aseg.mgz'),
    IXI: (find_ixi, 'files such as IXI002-Guys-0828-T1.nii.gz'),
    ADNI: T1W_TREE,
    ABIDE: T1W_TREE,
    ADHD: T1W_TREE,
    FOLDER: (
        find_folder,
        'SUBJECT/{t1,image}.nii.gz with {seg,labels}.nii.gz, images/ and labels/, or NAME.nii.gz with NAME_seg.nii.gz',
    ),
}
