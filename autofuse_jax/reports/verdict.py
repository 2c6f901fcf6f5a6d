"""What the scores of one registration say, in words: what got better, and what a user must be warned of."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from autofuse_jax.reports.doubts import FAILED, GOOD, LOOK, doubts_of
from autofuse_jax.reports.html import DASH, Html, is_number, number, tag

# More folded voxels than this make a loud warning.
MOST_FOLDED_PERCENT = 0.1
# With more than this the registration has failed.
FAR_TOO_MANY_FOLDED_PERCENT = 5.0
# A score that is lower by more than this has fallen; less is rounding.
FALLEN = 1e-4
# A score that is lower by more than this is worth a look.
WORSE = 5e-3
# A score that is lower by more than this says that the registration has failed.
FALLEN_FAR = 0.05
# Local correlation of images that lie on each other, whatever they were before.
ALIKE = 0.9
# Levels in the words of a terminal.
WORDS = {GOOD: 'good', LOOK: 'look at it', FAILED: 'failed'}
# From the best to the worst.
LEVELS = (GOOD, LOOK, FAILED)
# Frames of a series whose reasons are told.
SHOWN_FRAMES = 3
# A transform that moves no voxel by more than this does nothing.
NOTHING_MOVED_VOXELS = 0.01
# An inverse that misses by more than this on average is worth a remark.
INVERSE_MISS_VOXELS = 0.5


HEADLINES = {
    LOOK: 'Look at it before using this result',
    FAILED: 'This registration has failed',
}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What to tell first.

    Attributes:
        headline: A few words.
        level: 'good', 'look' or 'failed'.
        warnings: Sentences that must be seen: the reasons of any level but 'good'.
        remarks: Sentences on each score.
    """

    headline: str
    level: str
    warnings: tuple[str, ...]
    remarks: tuple[str, ...]

    def html(self) -> Html:
        """Return the warnings, if any, and the verdict."""
        loud = None
        if self.warnings:
            items = tag('ul', [tag('li', text) for text in self.warnings])
            loud = tag('div', tag('strong', 'Warning'), items, class_='warnings', role='alert')
        said = tag('ul', [tag('li', text) for text in self.remarks])
        box = tag('div', tag('strong', self.headline), said, class_=f'verdict {self.level}')
        return Html((loud or '') + box)

    def record(self) -> dict[str, Any]:
        """Return what report.json holds of it."""
        return {'level': self.level, 'headline': self.headline, 'reasons': list(self.warnings)}


def verdict_line(record: Mapping[str, Any]) -> str:
    """Return a verdict of report.json in one line: level, headline and what speaks against it."""
    # The headline of a doubt says what the level says.
    reasons = record['reasons'] or [f'{record["headline"]}.']
    return ' '.join([f'verdict: {WORDS[record["level"]]}.', *reasons])


def verdict_of_series(frames: Mapping[int, Verdict]) -> Verdict:
    """Return the verdict of a series: the level of its worst frames, and their reasons.

    Args:
        frames: Verdict by number of the frame, at least one.
    """
    level = max((verdict.level for verdict in frames.values()), key=LEVELS.index)
    worst = {number: verdict for number, verdict in frames.items() if verdict.level == level}
    share = f'{len(worst)} of {len(frames)} frames' if len(worst) < len(frames) else f'{len(frames)} frames'
    alone = len(frames) == 1
    if level == GOOD:
        return Verdict('1 frame is aligned' if alone else f'{share} are aligned', level, (), ())
    reasons = [f'Frame {number}: {" ".join(verdict.warnings)}' for number, verdict in worst.items()]
    more = len(reasons) - SHOWN_FRAMES
    if more > 0:
        reasons[SHOWN_FRAMES:] = [f'And {more} more {"frames" if more > 1 else "frame"} of this level.']
    return Verdict(
        HEADLINES[level], level, tuple(reasons), ('1 frame has this level.' if alone else f'{share} have this level.',)
    )


def judge(
    scores: Mapping[str, Any],
    *,
    moving_before: np.ndarray,
    moved: np.ndarray,
    displacement: np.ndarray,
    jacobian: np.ndarray,
    smallest_spacing: float,
    evidence: Mapping[str, Any] | None = None,
) -> Verdict:
    """Put the scores and the evidence into words.

    A score that rose is no proof: two images of different organs rise as well. The verdict is 'good' only if nothing
    of the evidence speaks against it.

    Args:
        scores: The entry 'scores' of report.json; any score may be missing or None.
        moving_before: Moving image on the fixed grid before registration, (D, H, W).
        moved: Moved image, (D, H, W).
        displacement: (D, H, W, 3), in voxels.
        jacobian: Its determinant.
        smallest_spacing: Smallest voxel size of the fixed grid in millimetres.
        evidence: The entry 'evidence' of report.json; None: none was taken.

    Returns:
        The verdict.
    """
    evidence = evidence or {}
    doubts, remarks, rises = doubts_of(evidence), [], []
    for key, name, text in (
        ('ncc', 'Similarity of the grey values (NCC)', lambda value: number(value, 3)),
        ('dsc', 'Mean overlap of the structures (DSC)', lambda value: f'{number(value, 1, 100)} %'),
    ):
        before, after = scores.get(f'{key}_before'), scores.get(f'{key}_after')
        if not (is_number(before) and is_number(after)):
            continue
        if key == 'ncc' and _shows_a_negative(evidence):
            name, before, after = f'{name}, of a negative without its sign', abs(before), abs(after)
        if after < before - FALLEN:
            remarks.append(f'{name} fell from {text(before)} to {text(after)}.')
            # Of images of different contrasts it tells nothing.
            if before - after > WORSE and (key != 'ncc' or evidence.get('same_contrast') is not False):
                fell = f'{name} fell from {text(before)} to {text(after)}: the result is worse than the input.'
                doubts.append((FAILED if before - after > FALLEN_FAR else LOOK, fell))
        else:
            rises.append(after > before + FALLEN)
            verb = f'rose from {text(before)} to' if rises[-1] else 'stayed at'
            remarks.append(f'{name} {verb} {text(after)}.')
    before, after = scores.get('hd95_mm_before'), scores.get('hd95_mm_after')
    if is_number(before) and is_number(after) and before != after:
        verb = 'fell' if after < before else 'rose'
        remarks.append(f'Surface distance (HD95) {verb} from {number(before, 1)} mm to {number(after, 1)} mm.')
    remarks += _worse_structures(scores)
    if evidence.get('same_contrast') is False:
        remarks.append('The images show different contrasts; see "similarity" for what they were compared by.')
    still = _nothing_moved(displacement)
    alike = is_number(evidence.get('local_correlation')) and evidence['local_correlation'] >= ALIKE
    if still:
        remarks.append(f'Nothing moved: no displacement is longer than {NOTHING_MOVED_VOXELS} voxel.')
        if not alike:
            doubts.append((LOOK, f'{remarks[-1]} Either the images were aligned already or registration did nothing.'))
    doubts += _suspicious(moving_before, moved, displacement, remarks)
    doubts += _folding(folded_percent(scores, jacobian), remarks)
    _inverse(scores.get('inverse_consistency_mm'), smallest_spacing, remarks)
    warnings = tuple(text for level in (FAILED, LOOK) for of, text in doubts if of == level)
    if warnings:
        level = FAILED if any(of == FAILED for of, _ in doubts) else LOOK
        return Verdict(HEADLINES[level], level, warnings, tuple(remarks))
    if still:
        return Verdict('Aligned already', GOOD, (), tuple(remarks))
    if any(rises) or alike:
        return Verdict('Well aligned' if not any(rises) else 'Better aligned than before', GOOD, (), tuple(remarks))
    headline = 'No better aligned than before' if rises else 'No score says how well it is aligned: see the pictures'
    return Verdict(headline, GOOD if evidence and not rises else LOOK, (), tuple(remarks))


def _shows_a_negative(evidence: Mapping[str, Any]) -> bool:
    """Whether one image is bright where the other is dark, and otherwise alike."""
    return (
        evidence.get('same_contrast') is True and is_number(evidence.get('correlation')) and evidence['correlation'] < 0
    )


def folded_percent(scores: Mapping[str, Any], jacobian: np.ndarray) -> float:
    """Return the share of folded voxels in percent: the reported one, or else counted in the determinant."""
    reported = scores.get('njd_percent')
    if is_number(reported):
        return float(reported)
    return 100 * np.count_nonzero(jacobian <= 0) / max(1, jacobian.size)


def score_tiles(scores: Mapping[str, Any], jacobian: np.ndarray) -> Html:
    """Return the main numbers in boxes; what is not known is left out or a dash."""
    inverse = scores.get('inverse_consistency_mm')
    inverse = inverse if isinstance(inverse, Mapping) else {'mean': inverse}
    tiles = []
    for key, name, digits, factor, unit in (
        ('dsc', 'DSC', 1, 100, ' %'),
        ('hd95_mm', 'HD95', 1, 1, ' mm'),
        ('ncc', 'NCC', 3, 1, ''),
    ):
        pair = [scores.get(f'{key}_{when}') for when in ('before', 'after')]
        if any(is_number(value) for value in pair):
            text = ' → '.join(number(value, digits, factor) for value in pair)
            tiles.append((f'{name} before → after', text + unit))
    folded = folded_percent(scores, jacobian)
    tiles.append(('folded voxels (NJD)', f'{number(folded, 4)} %' if folded else 'none'))
    tiles.append(('SDlogJ', number(scores.get('sdlogj'), 3)))
    finite = jacobian[np.isfinite(jacobian)]
    ends = [
        scores.get(key) if is_number(scores.get(key)) else extreme(finite) if finite.size else None
        for key, extreme in (('jacobian_min', np.min), ('jacobian_max', np.max))
    ]
    tiles.append(('Jacobian, least – most', ' – '.join(number(value, 2) for value in ends)))
    if is_number(inverse.get('mean')):
        tiles.append(('inverse consistency, mean', f'{number(inverse["mean"], 3)} mm'))
    if is_number(scores.get('seconds')):
        tiles.append(('time', f'{number(scores["seconds"], 1)} s'))
    boxes = [tag('div', tag('span', name), tag('b', value), class_='tile') for name, value in tiles if value != DASH]
    return tag('div', boxes, class_='tiles')


def _worse_structures(scores: Mapping[str, Any]) -> list[str]:
    before, after = (scores.get(f'dsc_{when}_per_label') or {} for when in ('before', 'after'))
    both = [label for label in before if is_number(before[label]) and is_number(after.get(label))]
    worse = sum(after[label] < before[label] - FALLEN for label in both)
    return [f'{worse} of {len(both)} structures overlap less than before; see the table.'] if worse else []


def _nothing_moved(displacement: np.ndarray) -> bool:
    largest = float(np.abs(displacement).max(initial=0.0))
    return np.isfinite(largest) and largest <= NOTHING_MOVED_VOXELS


def _suspicious(
    moving_before: np.ndarray, moved: np.ndarray, displacement: np.ndarray, remarks: list[str]
) -> list[tuple[str, str]]:
    """Doubts about results that no score shows; adds remarks on what is odd but may be right."""
    doubts = []
    if not np.isfinite(displacement).all():
        doubts.append((FAILED, 'The displacement holds values that are not finite.'))
    if _empty(moved):
        nothing = 'The moved image shows nothing: no part of the moving image lies on the fixed grid.'
        doubts.append((FAILED, nothing))
    elif _empty(moving_before):
        remarks.append(
            'By their headers alone the two images do not overlap, so the pictures and scores before are of an '
            'empty image.'
        )
    return doubts


def _empty(image: np.ndarray) -> bool:
    """Tell whether an image is the same value (or not finite) everywhere."""
    finite = image[np.isfinite(image)]
    return not finite.size or finite.min() == finite.max()


def _folding(percent: float, remarks: list[str]) -> list[tuple[str, str]]:
    remarks.append('No voxel folds.' if percent == 0 else f'{number(percent, 4)} % of the voxels fold.')
    if percent <= MOST_FOLDED_PERCENT:
        return []
    text = (
        f'{number(percent, 2)} % of the voxels fold (more than {MOST_FOLDED_PERCENT} %): the transform cannot be '
        'inverted there.'
    )
    return [(LOOK if percent <= FAR_TOO_MANY_FOLDED_PERCENT else FAILED, text)]


def _inverse(miss: Any, smallest_spacing: float, remarks: list[str]) -> None:
    """A remark on forward and inverse applied one after the other."""
    if isinstance(miss, Mapping) and is_number(miss.get('mean')):
        text = f'Forward and inverse applied one after the other miss by {number(miss["mean"], 3)} mm on average'
        if is_number(miss.get('max')):
            text += f', {number(miss["max"], 2)} mm at most'
        if miss['mean'] > INVERSE_MISS_VOXELS * smallest_spacing:
            text += ', which is more than half a voxel'
        remarks.append(text + '.')
