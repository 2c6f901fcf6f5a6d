"""Objectives that compare images, maps and label maps: what they are made of, for the checks that all must pass."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax

from autofuse_jax.fields import warp_linear
from autofuse_jax.losses.ac_dmir import ACDMiRWeights, ac_dmir_objective
from autofuse_jax.losses.gl_net import GLNetWeights, gl_net_objective
from autofuse_jax.losses.jpr_net import JPRNetWeights, jpr_net_objective
from autofuse_jax.losses.rsegnet import RSegNetWeights, rsegnet_objective
from autofuse_jax.models.class_probabilities import with_background
from autofuse_jax.models.field_outputs import of_displacement, of_velocity
from tests.losses.labelled_pairs import SHAPE, field, logits
from tests.quick import quick_jit

HALF = tuple(size // 2 for size in SHAPE)


@dataclasses.dataclass(frozen=True, eq=False)
class LabelObjective:
    """An objective on inputs that stand for what its networks predict.

    Attributes:
        weights: Its weights and options, with a window that fits the small volumes.
        inputs: Arrays by name.
        terms: (inputs, batch, weights) -> (loss, diagnostics).
        always: Terms of every pair, and the inputs that each trains.
        with_labels: For each kind of pair, further terms and the inputs that each trains.
        weighs: Option: a term that it weighs, and the share of the term.
        weighed_kind: Kind of pair that has these terms.
        optional: Options without which terms are left out.
        kept: Terms that are left without them.
    """

    weights: Any
    inputs: dict[str, jax.Array]
    terms: Callable
    always: dict[str, set[str]]
    with_labels: dict[str, dict[str, set[str]]]
    weighs: dict[str, tuple[str, float]]
    optional: tuple[str, ...]
    kept: set[str]
    weighed_kind: str = 'both'

    def expected(self, kind: str) -> dict[str, set[str]]:
        """Return the terms of a kind of pair, and the inputs that each trains."""
        return self.always | self.with_labels[kind]

    @functools.cached_property
    def loss(self) -> Callable:
        """(inputs, batch) -> (loss, diagnostics), compiled once."""
        return quick_jit(lambda inputs, batch: self.terms(inputs, batch, self.weights))

    @functools.cached_property
    def jacobian(self) -> Callable:
        """(inputs, batch) -> derivative of each weighted term by each input, compiled once."""
        return self.jacobian_with(self.weights)

    def jacobian_with(self, weights: Any) -> Callable:
        """Return `jacobian` with other weights."""

        def contributions(inputs, batch):
            diagnostics = self.terms(inputs, batch, weights)[1]
            return {name: value for name, value in diagnostics.items() if name.startswith('weighted/')}

        return quick_jit(jax.jacrev(contributions))


def ac_dmir_terms(inputs, batch, weights):
    """The initial warped image is that of the initial map; its segmentation is an input of its own."""
    warped = jax.vmap(warp_linear)(batch['moving'], inputs['initial'])
    classes = {name: jax.nn.softmax(inputs[f'{name}_logits']) for name in ('warped', 'fixed', 'moving')}
    both = classes['fixed'], classes['moving']
    return ac_dmir_objective((inputs['initial'], inputs['final']), warped, classes['warped'], both, batch, weights)


def segmentations_of(inputs):
    """Return class probabilities of the fixed and the moving image."""
    return jax.nn.softmax(inputs['fixed_logits']), jax.nn.softmax(inputs['moving_logits'])


def regions_of(inputs, batch):
    """Cut regions out as the method does: without gradient."""
    return tuple(
        jax.lax.stop_gradient(classes)[..., 1:] * batch[role]
        for role, classes in zip(('fixed', 'moving'), segmentations_of(inputs), strict=True)
    )


def gl_net_terms(inputs, batch, weights):
    """Both displacements are inputs; their sum is the map."""
    parts = inputs['of_images'], inputs['of_regions']
    return gl_net_objective(sum(parts), parts, regions_of(inputs, batch), segmentations_of(inputs), batch, weights)


def jpr_net_output(inputs, batch):
    """Return the output of a network that predicted the inputs."""
    fixed, moving = segmentations_of(inputs)
    return of_displacement(
        inputs['displacement'], batch['moving'], fixed_segmentation=fixed, moving_segmentation=moving
    )


def jpr_net_terms(inputs, batch, weights):
    """The objective on that output."""
    return jpr_net_objective(jpr_net_output(inputs, batch), batch, weights)


def rsegnet_output(inputs, batch):
    """Return the output of a network that predicted the inputs."""
    return of_velocity(
        inputs['velocity'],
        batch['moving'],
        inputs['log_variance'],
        fixed_segmentation=with_background(jax.nn.sigmoid(inputs['fixed_logits'])),
        moving_segmentation=with_background(jax.nn.sigmoid(inputs['moving_logits'])),
    )


def rsegnet_terms(inputs, batch, weights):
    """The objective on that output."""
    return rsegnet_objective(rsegnet_output(inputs, batch), batch, weights)


AC_DMIR = LabelObjective(
    weights=ACDMiRWeights(ncc_window=3),
    inputs={
        'initial': field(0.5),
        'final': field(0.3, seed=2),
        'warped_logits': logits(3),
        'fixed_logits': logits(4),
        'moving_logits': logits(5),
    },
    terms=ac_dmir_terms,
    always={
        'negative_ncc_initial': {'initial'},
        'negative_ncc_final': {'final'},
        'smoothness_initial': {'initial'},
        'smoothness_final': {'final'},
    },
    # In the network the warped image's logits depend on phi_0.
    with_labels={
        'both': {
            'dice_initial': {'initial'},
            'dice_final': {'final'},
            'constraint': {'warped_logits'},
            'segmentation_fixed': {'fixed_logits'},
            'segmentation_moving': {'moving_logits'},
        },
        'fixed': {
            'dice_predicted': {'final'},
            'constraint': {'warped_logits'},
            'segmentation_fixed': {'fixed_logits'},
        },
        'moving': {'constraint': {'warped_logits'}, 'segmentation_moving': {'moving_logits'}},
        'none': {},
    },
    weighs={
        'smoothness': ('smoothness_final', 1.0),
        'dice': ('dice_initial', 0.5),
        'constraint': ('constraint', 1.0),
        'segmentation': ('segmentation_moving', 1.0),
    },
    optional=('dice', 'constraint', 'segmentation'),
    kept={'negative_ncc_initial', 'negative_ncc_final', 'smoothness_initial', 'smoothness_final'},
)

MAPS = {'of_images', 'of_regions'}
GL_NET = LabelObjective(
    weights=GLNetWeights(ncc_window=3),
    inputs={
        'of_images': field(0.5),
        'of_regions': field(0.3, seed=2),
        'fixed_logits': logits(3),
        'moving_logits': logits(4),
    },
    terms=gl_net_terms,
    always={
        'negative_ncc': MAPS,
        'smoothness_global': {'of_images'},
        'smoothness_local': {'of_regions'},
        'negative_region_ncc': MAPS,
    },
    with_labels={
        'both': {'dice': MAPS, 'segmentation_fixed': {'fixed_logits'}, 'segmentation_moving': {'moving_logits'}},
        'fixed': {'dice': MAPS | {'moving_logits'}, 'segmentation_fixed': {'fixed_logits'}},
        'moving': {'dice': MAPS | {'fixed_logits'}, 'segmentation_moving': {'moving_logits'}},
        'none': {},
    },
    weighs={
        'smoothness': ('smoothness_local', 1.0),
        'regions': ('negative_region_ncc', 1.0),
        'dice': ('dice', 1.0),
        'segmentation': ('segmentation_moving', 1.0),
    },
    optional=('regions', 'dice', 'segmentation'),
    kept={'negative_ncc', 'smoothness_global', 'smoothness_local'},
)

JPR_NET = LabelObjective(
    weights=JPRNetWeights(ncc_window=3),
    inputs={'displacement': field(0.5), 'fixed_logits': logits(3), 'moving_logits': logits(4)},
    terms=jpr_net_terms,
    always={'negative_ncc': {'displacement'}, 'smoothness': {'displacement'}},
    # The map is a constant in both augmentations.
    with_labels={
        'both': {
            'parcellation_fixed': {'fixed_logits'},
            'parcellation_moving': {'moving_logits'},
            'map_similarity': {'displacement'},
        },
        'fixed': {
            'parcellation_fixed': {'fixed_logits'},
            'map_similarity': {'displacement', 'moving_logits'},
            'augmentation_moving': {'moving_logits'},
        },
        'moving': {
            'parcellation_moving': {'moving_logits'},
            'map_similarity': {'displacement', 'fixed_logits'},
            'augmentation_fixed': {'fixed_logits'},
        },
        'none': {},
    },
    weighs={
        'smoothness': ('smoothness', 1.0),
        'parcellation': ('parcellation_fixed', 1.0),
        'map_similarity': ('map_similarity', 1.0),
        'augmentation': ('augmentation_moving', 1.0),
    },
    weighed_kind='fixed',
    optional=('parcellation', 'map_similarity', 'augmentation'),
    kept={'negative_ncc', 'smoothness'},
)

RSEGNET = LabelObjective(
    weights=RSegNetWeights(ncc_window=3),
    inputs={
        'velocity': field(0.5)[:, : HALF[0], : HALF[1], : HALF[2]],
        'log_variance': field(0.1, 2)[:, : HALF[0], : HALF[1], : HALF[2]] - 5.0,
        'fixed_logits': logits(3)[..., 1:],
        'moving_logits': logits(4)[..., 1:],
    },
    terms=rsegnet_terms,
    always={'negative_ncc': {'velocity'}, 'kl': {'velocity', 'log_variance'}},
    # The inverse term never trains the segmentation, not even where it stands in for the fixed labels.
    with_labels={
        'both': {
            'segmentation_moving': {'moving_logits'},
            'segmentation_fixed': {'fixed_logits'},
            'forward': {'velocity', 'moving_logits'},
            'inverse': {'velocity'},
        },
        'fixed': {'segmentation_fixed': {'fixed_logits'}, 'forward': {'velocity', 'moving_logits'}},
        'moving': {'segmentation_moving': {'moving_logits'}, 'inverse': {'velocity'}},
        'none': {},
    },
    weighs={
        'kl': ('kl', 1.0),
        'alpha': ('segmentation_fixed', 1.0),
        'beta_forward': ('forward', 1.0),
        'beta_inverse': ('inverse', 1.0),
    },
    optional=('alpha', 'beta_forward', 'beta_inverse'),
    kept={'negative_ncc', 'kl'},
)

OBJECTIVES = {'ac_dmir': AC_DMIR, 'gl_net': GL_NET, 'jpr_net': JPR_NET, 'rsegnet': RSEGNET}
