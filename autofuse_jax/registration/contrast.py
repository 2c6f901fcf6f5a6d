"""Whether two aligned images show the same contrast, and how to give one that of the other where they do not."""

import dataclasses
from typing import NamedTuple

import numpy as np

from autofuse_jax.data.volumes import Volume
from autofuse_jax.metrics.warping import warp_image
from autofuse_jax.registration.appearance import appearance_features, learn_appearance
from autofuse_jax.registration.coverage import BACKGROUND_TOLERANCE, border_of
from autofuse_jax.registration.pyramid import in_proportion, shape_at
from autofuse_jax.registration.working_grid import PairOnGrid, pair_on_grid
from autofuse_jax.transforms.grids import resize_grid
from autofuse_jax.transforms.maps import AffineTransform

# Voxel size at which the images are compared, millimetres (see `in_proportion`): fine enough for tissues, coarse enough
# for what is not aligned yet.
COMPARISON_MM = 4.0
# Voxel size at which one image gets the contrast of the other for an alignment, likewise.
MATCHING_MM = 2.0
# Classes of grey values, equally full, for which the mean of the other image is taken.
CLASSES = 16
# Correlation above which the contrast is the same, as a share of what any function of the grey values could explain.
SAME_SHARE = 0.7
# Dependence below which images do not lie on each other, or show nothing in common: aligned brains of two persons have
# 0.7, hearts more, so that half as much is no sign of one contrast.
TELLING_DEPENDENCE = 0.35
# Fewer voxels tell nothing.
FEWEST_VOXELS = 200
# Dependence above which the grey values of one image are worth replacing by what they say of the other.
MATCHING_DEPENDENCE = 0.1


class Contrast(NamedTuple):
    """How the grey values of two images belong together, outside the background of both.

    Attributes:
        correlation: Correlation of the grey values, -1 .. 1.
        dependence: Correlation with the best function of the other image's grey value, 0 .. 1, of the two directions
            the larger: the root of the correlation ratio.
        same: Whether one straight line explains nearly all that any function could, and not next to nothing, within
            what is imaged and with the background as well: a photographic negative is the same contrast for a
            correlation that is squared.
    """

    correlation: float
    dependence: float
    same: bool

    def sentence(self) -> str:
        """Say it in one line."""
        verb = 'show the same contrast' if self.same else 'show different contrasts'
        return f'the images {verb} (correlation {self.correlation:.2f}, dependence {self.dependence:.2f})'


def contrast_of(fixed: Volume, moving: Volume, matrix: np.ndarray) -> Contrast:
    """Compare the grey values of two images.

    Args:
        fixed: The fixed image, with a mask or without.
        moving: The moving image, likewise.
        matrix: float64 (4, 4), from the fixed to the moving world.

    Returns:
        The contrast; 'same' where the images share too few voxels to tell.

    Reference:
        Roche et al., The correlation ratio as a new similarity measure for multimodal image registration, MICCAI 1998.
    """
    grid = resize_grid(fixed.grid, shape_at(fixed.grid, in_proportion(COMPARISON_MM, fixed.grid)))
    pair = pair_on_grid(fixed, moving, AffineTransform(matrix), grid)
    valid, shown = _valid_and_shown(pair)
    within, everywhere = (_line(pair.fixed[use], pair.moving[use]) for use in (shown, valid))
    if within is None or everywhere is None:
        return Contrast(float('nan'), float('nan'), True)
    straight = all(abs(correlation) >= SAME_SHARE * dependence for correlation, dependence in (within, everywhere))
    told = within[1] >= TELLING_DEPENDENCE
    return Contrast(*within, told and straight and bool(np.sign(within[0]) == np.sign(everywhere[0])))


def match_contrast(pair: PairOnGrid, displacement: np.ndarray | None = None) -> tuple[PairOnGrid, PairOnGrid]:
    """Give each image of a pair the contrast of the other, as far as it can be told from what it shows itself.

    `I'(x) = E[J | I around x]`, the other image's grey values by what one image shows at and around a voxel, see
    `appearance.learn_appearance`. The local correlation, which is blind to scales, can then compare `I'` with J, and I
    with `J'`: of what two images show, one way keeps what the other loses.

    Args:
        pair: Both images on one grid, aligned.
        displacement: (D, H, W, 3), in voxels, through which the grey values are compared: the better the images lie on
            each other, the more they say; None: as they are.

    Returns:
        The pair with its fixed image replaced and the pair with its moving image replaced, neither moved, in [0, 1];
        twice the pair as it is where the images share too few voxels to learn from.

    Reference:
        Roche et al., Rigid registration of 3-D ultrasound with MR images: a new approach combining intensity and
        gradient information, IEEE TMI 20(10), 2001, for replacing an image by a function of what the other shows.
    """
    lying = pair
    if displacement is not None:
        moved = (warp_image(image, displacement) for image in (pair.moving * pair.moving_valid, pair.moving_valid))
        product, moving_valid = moved
        lying = pair._replace(moving=product / np.maximum(moving_valid, 0.5), moving_valid=moving_valid)
    valid, _ = _valid_and_shown(lying)
    if np.count_nonzero(valid) < FEWEST_VOXELS:
        return pair, pair
    return (
        pair._replace(fixed=_in_contrast_of(lying.moving, lying.fixed, valid, pair.fixed)),
        pair._replace(moving=_in_contrast_of(lying.fixed, lying.moving, valid, pair.moving)),
    )


def matched_volumes(fixed: Volume, moving: Volume, matrix: np.ndarray) -> tuple[Volume, Volume]:
    """Bring a moving image to the fixed one, and show both in one contrast: that of the image that can be told better.

    Args:
        fixed: The fixed image, with a mask or without.
        moving: The moving image, likewise.
        matrix: float64 (4, 4), from the fixed to the moving world, good enough for tissues to lie on each other.

    Returns:
        Both on one grid in the fixed world, in [0, 1], with what is valid as masks.
    """
    grid = resize_grid(fixed.grid, shape_at(fixed.grid, in_proportion(MATCHING_MM, fixed.grid)))
    pair = pair_on_grid(fixed, moving, AffineTransform(matrix), grid)
    valid, _ = _valid_and_shown(pair)

    def told(one: PairOnGrid) -> float:
        return float(np.corrcoef(one.fixed[valid], one.moving[valid])[0, 1])

    best = max(match_contrast(pair), key=told)
    everywhere = np.ones(grid.shape, np.float32)
    masks = (everywhere if best.fixed_valid is None else best.fixed_valid), best.moving_valid
    first, second = (
        dataclasses.replace(volume, image=image, labels=None, affine=grid.affine, mask=mask)
        for volume, image, mask in zip((fixed, moving), (best.fixed, best.moving), masks, strict=True)
    )
    return first, second


def _in_contrast_of(other: np.ndarray, image: np.ndarray, valid: np.ndarray, unmoved: np.ndarray) -> np.ndarray:
    """An image as the other shows it, learned where both are valid and told of the image before it was moved."""
    features = appearance_features(image)
    grey_value = learn_appearance(features[valid.ravel()], other[valid])
    of = features if unmoved is image else appearance_features(unmoved)
    return np.clip(grey_value(of).reshape(image.shape), 0.0, 1.0)


def _valid_and_shown(pair: PairOnGrid) -> tuple[np.ndarray, np.ndarray]:
    """Where both images are valid, and where besides neither shows its background."""
    valid = pair.moving_valid > 0.5
    if pair.fixed_valid is not None:
        valid &= pair.fixed_valid > 0.5
    shown = valid.copy()
    for image, known in ((pair.fixed, pair.fixed_valid), (pair.moving, pair.moving_valid)):
        shown &= np.abs(image - border_of(image, known).background) > BACKGROUND_TOLERANCE
    return valid, shown


def _line(first: np.ndarray, second: np.ndarray) -> tuple[float, float] | None:
    """Correlation and dependence of two sets of grey values; None where they are too few or all the same."""
    first, second = first.astype(np.float64), second.astype(np.float64)
    if first.size < FEWEST_VOXELS or not (first.std() and second.std()):
        return None
    dependence = np.sqrt(max(_explained(first, second), _explained(second, first)))
    return float(np.corrcoef(first, second)[0, 1]), float(dependence)


def _explained(by: np.ndarray, values: np.ndarray) -> float:
    """Share of the variance of values that their means in classes of another image explain: the correlation ratio."""
    classes = np.digitize(by, np.quantile(by, np.linspace(0, 1, CLASSES + 1)[1:-1]))
    counts = np.bincount(classes, minlength=CLASSES)
    means = np.bincount(classes, values, minlength=CLASSES) / np.maximum(counts, 1)
    return float((counts * (means - values.mean()) ** 2).sum() / (values.size * values.var()))
