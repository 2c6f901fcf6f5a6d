"""Whose image it is: several sessions or frames of one person must not end up in different splits."""

import re
from collections.abc import Mapping, Sequence

# What follows the person in a name, behind a separator: sessions and visits of longitudinal studies, OASIS' rescans
# (MR2), frames and phases of a heart or of a breath, contrasts. Too much taken for a visit costs little: two people in
# one split; too little puts one person into two.
VISIT = re.compile(
    r'(?:^|[_\-. ])(?:ses-[a-z0-9]+'
    r'|(?:ses|sess|session|visit|scan|rescan|timepoint|tp|run|rep|repeat|wave|day|week|month|year|mr)[_\-]?\d+'
    r'|(?:frame|phase|time|t)[_\-]?\d+|ed|es|insp|exp|inspiration|expiration|inhale|exhale'
    r'|baseline|follow-?up\d*|retest|pre|post|before|after)(?=$|[_\-. ])',
    re.IGNORECASE,
)
# The person of BIDS, wherever the name has it.
BIDS_PERSON = re.compile(r'(?:^|[_\-. ])(sub-[a-z0-9]+)', re.IGNORECASE)
SEPARATORS = '_-. '


def is_visit(name: str) -> bool:
    """Tell whether a name says which visit it is and not whose."""
    return VISIT.fullmatch(name) is not None


def person_of(name: str) -> str:
    """Return the part of an image's name that says whose it is.

    Args:
        name: Name of an image, such as 'sub-01_ses-2_T1w', 'OAS1_0061_MR2' or 's1-session_1'.

    Returns:
        The person, such as 'sub-01', 'OAS1_0061' or 's1'; the whole name where it names no visit.
    """
    person = BIDS_PERSON.search(name)
    if person:
        return person[1]
    visit = VISIT.search(name)
    if not visit:
        return name
    before, behind = name[: visit.start()].strip(SEPARATORS), name[visit.end() :].strip(SEPARATORS)
    return before or behind or name


def images_of_persons(names: Sequence[str]) -> dict[str, list[str]]:
    """Return the images of each person.

    Args:
        names: Names of images.

    Returns:
        Person to names, in their order. Where names would make all images one person's, or nobody has several, each
        image is a person of its own name.
    """
    images: dict[str, list[str]] = {}
    for name in names:
        images.setdefault(person_of(name), []).append(name)
    return {name: [name] for name in names} if len(images) in (1, len(names)) else images


def persons_in_several(split_of: Mapping[str, str]) -> list[str]:
    """Return the persons who have images in the training split and in another one, sorted.

    Args:
        split_of: Name of an image to its split.
    """
    splits = {
        person: {split_of[name] for name in names} for person, names in images_of_persons(sorted(split_of)).items()
    }
    return sorted(person for person, of_person in splits.items() if 'train' in of_person and len(of_person) > 1)
