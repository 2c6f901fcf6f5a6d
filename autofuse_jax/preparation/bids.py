"""Finding images and label maps in a tree of the Brain Imaging Data Structure (BIDS).

Images are sub-ID/[ses-LABEL/]anat/sub-ID_..._SUFFIX.nii.gz, label maps sub-ID_..._dseg.nii.gz beside them or anywhere
below derivatives/, in the image's own space.

Reference:
    Gorgolewski et al., Scientific Data 3, 160044 (2016); https://bids-specification.readthedocs.io.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from autofuse_jax.data.formats import stem_of
from autofuse_jax.preparation.found_brains import FoundBrain, FoundBrains, image_files_below, in_order

PERSON, SESSION, SPACE = 'sub', 'ses', 'space'
DERIVATIVES = 'derivatives'
# In order of preference where as many images have each.
IMAGE_SUFFIXES = ('T1w', 'T2w', 'FLAIR', 'PDw', 'T2starw', 'UNIT1', 'inplaneT1', 'inplaneT2', 'angio')
LABEL_SUFFIX = 'dseg'
# Entities that say what was done to an image and not which one it is.
OF_LABELS = (SPACE, 'desc', 'label', 'atlas', 'seg', 'res', 'hemi')

Entities = dict[str, str]


def find_bids(root: Path) -> FoundBrains | None:
    """List the images of a BIDS tree, those of the suffix that most persons have, and the label maps of one kind.

    Args:
        root: The folder that holds sub-ID/.

    Returns:
        The source; None where it is no such tree.
    """
    if not any(path.is_dir() for path in root.glob(f'{PERSON}-*')):
        return None
    images: dict[str, list[Path]] = {}
    label_maps: dict[str, list[Path]] = {}
    for path in image_files_below(root):
        entities, suffix = parts_of(path)
        place = path.relative_to(root).parts[0]
        # Names of BIDS say whose image it is; T1w.nii.gz in folders of that kind is another layout.
        raw = place.startswith(f'{PERSON}-') and PERSON in entities
        if suffix == LABEL_SUFFIX and (raw or place == DERIVATIVES):
            label_maps.setdefault(_kind(entities), []).append(path)
        elif suffix in IMAGE_SUFFIXES and raw:
            images.setdefault(suffix, []).append(path)
    if not images:
        return None
    suffix = max(images, key=lambda one: (_persons(images[one]), -IMAGE_SUFFIXES.index(one)))
    # Those in another space than the image's are no label maps of it.
    own = [kind for kind in sorted(label_maps) if not kind.startswith(f'{SPACE}-')]
    pairs = {kind: _pairs(images[suffix], label_maps[kind]) for kind in own}
    chosen = max(pairs, key=lambda kind: len(pairs[kind]), default='')
    label_of = pairs.get(chosen, {})
    brains = [FoundBrain(stem_of(path), path, label_of.get(path)) for path in images[suffix]]
    return FoundBrains(
        f'BIDS tree, images {suffix}' + (f', label maps {chosen}' if label_of else ''),
        in_order(brains, root),
        remarks=(
            *_not_used('images', suffix, images),
            *_not_used('label maps', chosen if label_of else '', label_maps),
        ),
    )


def parts_of(path: Path) -> tuple[Entities, str]:
    """Return the entities of a BIDS file's name and its suffix.

    Args:
        path: Such as sub-01_ses-2_desc-aseg_dseg.nii.gz.

    Returns:
        Value of each entity, such as {'sub': '01', 'ses': '2', 'desc': 'aseg'}, and the suffix, such as 'dseg'.
    """
    *words, suffix = stem_of(path).split('_')
    return dict(word.split('-', 1) for word in words if '-' in word), suffix


def _pairs(images: Sequence[Path], label_maps: Sequence[Path]) -> dict[Path, Path]:
    """Image to label map: of the same person and session, and no other entity that the image has not."""
    of_visit: dict[tuple[str | None, ...], list[Path]] = {}
    for path in label_maps:
        of_visit.setdefault(_visit(path), []).append(path)
    found, wanted = {}, {path: _which(path) for path in label_maps}
    for image in images:
        has = _which(image)
        fitting = [path for path in of_visit.get(_visit(image), ()) if wanted[path] <= has]
        most = max((len(wanted[path]) for path in fitting), default=0)
        best = [path for path in fitting if len(wanted[path]) == most]
        # Two that fit as well: either would be a guess.
        if len(best) == 1:
            found[image] = best[0]
    # A label map that does not say of which run it is, is not that of both.
    uses = Counter(found.values())
    return {image: path for image, path in found.items() if uses[path] == 1}


def _visit(path: Path) -> tuple[str | None, ...]:
    entities, _ = parts_of(path)
    return entities.get(PERSON), entities.get(SESSION)


def _which(path: Path) -> set[tuple[str, str]]:
    """Entities that say which image it is, or it is of."""
    entities, _ = parts_of(path)
    return {(name, value) for name, value in entities.items() if name not in OF_LABELS}


def _kind(entities: Entities) -> str:
    """What a label map is apart from whose: such as 'desc-aseg_dseg'."""
    return '_'.join([*(f'{name}-{entities[name]}' for name in OF_LABELS if name in entities), LABEL_SUFFIX])


def _persons(paths: Iterable[Path]) -> int:
    return len({parts_of(path)[0].get(PERSON) for path in paths})


def _not_used(what: str, chosen: str, found: dict[str, list[Path]]) -> list[str]:
    """A sentence about other kinds that there are."""
    others = [f'{kind} ({len(found[kind])})' for kind in sorted(found) if kind != chosen]
    return [f'{what} of another kind are not used: {", ".join(others)}'] if others else []
