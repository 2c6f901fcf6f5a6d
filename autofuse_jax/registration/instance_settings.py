"""How to optimise the velocity field of one pair."""

import dataclasses

from autofuse_jax.choices import AUTO, IN_TURN, SIMILARITIES
from autofuse_jax.errors import COUNT, POSITIVE, SHARE, WEIGHT, UserError, check_numbers, check_odd, check_option
from autofuse_jax.losses.similarity import NCC_WINDOW


@dataclasses.dataclass(frozen=True)
class InstanceSettings:
    """How to optimise a velocity field.

    Attributes:
        similarity: 'ncc', local correlation; 'mind', differences of descriptors that do not depend on the contrast;
            'matched', local correlation once each image has the contrast of the other, see `contrast.match_contrast`;
            'mi', mutual information of the whole images; or 'auto' (default): the one that suits the pair, by its
            alignment, and without one the correlation.
        shrink: Factor by which each level is coarser than the working grid, from coarse to fine; default 4, 2, 1.
        steps: Largest number of Adam steps of each level.
        steps_of_large: Largest number of steps of a level of more than 1.5 million voxels, where a step takes longest;
            default 10.
        learning_rate: Learning rate of the velocity, in its voxels, at the first step of a level.
        smoothness: Weight of the mean squared gradient of the velocity, in mm per mm; with a velocity given to start
            from, of the gradient of the departure from it.
        jacobian: Weight of the mean negative part of the Jacobian determinant.
        inverse: Weight w of the same similarity for the inverse map, which registers fixed to moving: each term becomes
            `(forward + w backward) / (1 + w)`. With 1 the result does not depend on which image is called fixed, but
            for its grid; unless it is 0 (default), a step takes twice the work. 'turns': one step lowers the forward,
            the next the backward loss, which comes near to 1 at the work of 0.
        ncc_window: Side of the correlation window in voxels of each level, odd.
        velocity_shrink: The velocity's voxels are this many times those of its level, as in the network.
        guided_velocity_shrink: The same where classes guide, along axes of fine voxels and on levels that are not
            large: boundaries are known more finely than what grey values say of motion; default 1.
        tolerance: Tolerance of `Schedule`.
        trust: Share of a given velocity that the search starts from and departs from, in [0, 1]. Between 0.5 and 1 it
            hardly matters for pairs on which a network is as good as in training; the less it is, the less a
            network that has not seen such images can mislead.
        guide: Weight of the classes of a guide, see `losses.guide.class_guide_loss`; default 3: the overlap of the
            structures that guide still grows from 1 to 3, and so does that of the structures that are scored. Without
            effect without a guide.
        points: Weight of the points of a guide per millimetre, see `losses.guide.point_guide_loss`; likewise.

    Raises:
        UserError: A number is out of its range, the window even, or levels and steps differ in length.
    """

    similarity: str = AUTO
    shrink: tuple[int, ...] = (4, 2, 1)
    steps: tuple[int, ...] = (60, 40, 20)
    steps_of_large: int = 10
    learning_rate: float = 0.15
    smoothness: float = 0.5
    jacobian: float = 1.0
    inverse: float | str = 0.0
    ncc_window: int = NCC_WINDOW
    velocity_shrink: int = 2
    guided_velocity_shrink: int = 1
    tolerance: float = 0.002
    trust: float = 0.5
    guide: float = 3.0
    points: float = 0.1

    def __post_init__(self):
        check_option('the similarity of the deformation', self.similarity, (AUTO, *SIMILARITIES))
        check_numbers('shrink', self.shrink, COUNT)
        check_numbers('steps', self.steps, COUNT)
        check_option('steps_of_large', self.steps_of_large, COUNT)
        if len(self.shrink) != len(self.steps):
            raise UserError(
                f'instance optimisation has {len(self.shrink)} levels and {len(self.steps)} numbers of steps',
                expected='one number of steps for each level',
                fix='add or remove steps',
            )
        for name in ('smoothness', 'jacobian', 'guide', 'points'):
            check_option(name, getattr(self, name), WEIGHT)
        if self.inverse != IN_TURN:
            check_option('inverse', self.inverse, WEIGHT)
        check_option('learning_rate', self.learning_rate, POSITIVE)
        check_option('tolerance', self.tolerance, SHARE)
        check_option('trust', self.trust, SHARE)
        for name in ('velocity_shrink', 'guided_velocity_shrink'):
            check_option(name, getattr(self, name), COUNT)
        check_odd('ncc_window', self.ncc_window)
