"""Names of label maps: which word tells that a file is one, and which image it belongs to."""

import re
from collections import Counter
from collections.abc import Iterable

# In order of preference where an image has several; a mask may also be that of the whole brain.
LABEL_WORDS = (
    'seg',
    'segmentation',
    'labels',
    'label',
    'lab',
    'dseg',
    'gt',
    'groundtruth',
    'manual',
    'truth',
    'aseg',
    'mask',
)
# Words that an image may have where its label map has one of those above.
IMAGE_WORDS = ('image', 'img', 'im', 'volume', 'vol', 'scan', 'brain', 't1', 't1w', 'norm', 'orig')
# The first, often the only channel of an image in the naming of nnU-Net; label maps go without.
FIRST_CHANNEL = '_0000'
CHANNEL = re.compile(r'(.+)_\d{4}')
SEPARATORS = re.compile(r'[\W_]+')
ENDING = re.compile(rf'(.+)[_\-. +]({"|".join(LABEL_WORDS)})', re.IGNORECASE)
# 'lab7' is the word and the number.
NUMBERED = re.compile(rf'({"|".join(word for word in (*LABEL_WORDS, *IMAGE_WORDS) if word.isalpha())})(\d+)')


def is_label_name(stem: str) -> bool:
    """Tell whether the first or the last word of a name says that the file is a label map, numbers not counted.

    Args:
        stem: Name of the file without suffix, such as 'p1_frame01_gt', 'lab7' or 'seg-p1'.

    Returns:
        Whether it does.
    """
    words = [word for word in _words(stem) if not word.isdigit()]
    return bool(words) and not {words[0], words[-1]}.isdisjoint(LABEL_WORDS)


def base_of(stem: str) -> str:
    """Return a name without the word for labels behind it: 'p1' of 'p1_gt'."""
    match = ENDING.fullmatch(stem)
    return match[1] if match else stem


def key_of(stem: str) -> tuple[str, ...]:
    """Return the words and numbers of a name without those that say label map or image, in lower case."""
    words = _words(stem.removesuffix(FIRST_CHANNEL))
    return tuple(word for word in words if word not in LABEL_WORDS and word not in IMAGE_WORDS)


def further_channels(images: Iterable[str], labels: Iterable[str]) -> list[str]:
    """Return the images that are further channels of others in the naming of nnU-Net: NAME_0001 beside NAME_0000.

    Only where a label map is called NAME: numbers alone may as well count the images.

    Args:
        images: Names of images without suffix.
        labels: Names of label maps without suffix.

    Returns:
        Their names, in order.
    """
    images, bases = set(images), {base_of(label) for label in labels}
    matches = [match for stem in sorted(images) if (match := CHANNEL.fullmatch(stem))]
    first_of = {match[0]: match[1] + FIRST_CHANNEL for match in matches if match[1] in bases}
    return [stem for stem, first in first_of.items() if stem != first and first in images]


def match_labels(images: Iterable[str], labels: Iterable[str]) -> dict[str, str]:
    """Return which label map belongs to which image, by their names.

    The first of these that an image has: a label map of the same name; one of its name and a word for labels behind
    (NAME_gt); either of the two without the number of the first channel (NAME_0000 and NAME); one with the same words
    and numbers besides those that say label map or image (img7 and lab7), if no other image and no other label map
    have them too.

    Args:
        images: Names of images without suffix.
        labels: Names of label maps without suffix.

    Returns:
        Image to label map. Images and label maps without a partner are left out.
    """
    images, labels = sorted(images), sorted(labels, key=_rank)
    matched: dict[str, str] = {}
    for ending in ('', FIRST_CHANNEL):
        for wanted in (str, base_of):
            of_name = {wanted(label): label for label in reversed(labels) if label not in matched.values()}
            for image in images:
                name = image.removesuffix(ending)
                if image not in matched and image.endswith(ending) and name in of_name:
                    matched[image] = of_name[name]
    # Less exact, so that whoever else could be meant counts, too.
    alone = _alone(images)
    open_labels = _alone(label for label in labels if not {label, base_of(label)} & matched.keys())
    close = {alone[key]: label for key, label in open_labels.items() if key in alone}
    used = set(matched.values())
    return matched | {image: label for image, label in close.items() if image not in matched and label not in used}


def _alone(names: Iterable[str]) -> dict[tuple[str, ...], str]:
    """Key to name, of the names whose key no other has."""
    names = list(names)
    counts = Counter(map(key_of, names))
    return {key_of(name): name for name in names if counts[key_of(name)] == 1}


def _rank(label: str) -> tuple[int, str]:
    """Place of a label map in the order of preference."""
    match = ENDING.fullmatch(label)
    return LABEL_WORDS.index(match[2].lower()) if match else -1, label


def _words(stem: str) -> list[str]:
    parts = [part for part in SEPARATORS.split(stem.lower()) if part]
    return [word for part in parts for word in _apart(part)]


def _apart(part: str) -> tuple[str, ...]:
    match = NUMBERED.fullmatch(part)
    return match.groups() if match else (part,)
