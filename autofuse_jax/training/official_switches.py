"""`reproduce_official`: everything in which the official code differs from ours, switched on together.

The official code (repository MungoMeng/Registration-AutoFuse) differs from the paper, and in places from what its
authors will have meant. Our defaults are the corrected behaviour; to compare with published numbers and weights, one
switch turns all of it on. Each entry is also a switch of its own.
"""

from typing import Any

from ml_collections import ConfigDict

# Field of the config: its value in the official code.
OFFICIAL_SWITCHES = {
    # argmax / C of each segmentation is fed back, one channel an image, without gradient.
    'model.segmentation_feedback': 'argmax',
    # The gates' 1 x 1 x 1 convolutions start with random biases, so gates start near and not at 0.5.
    'model.random_gate_bias': True,
    # Windows cut to a small volume read the first rows of the whole window's index of relative biases.
    'model.relative_bias': 'truncated',
    # Moving labels are warped by nearest sampling: the terms with them do not train the deformation.
    'loss.label_warp': 'nearest',
    'loss.consistency_grad': 'seg_only',
    # An all-zero label map counts as missing, and its terms are left out.
    'loss.missing_labels': 'zeros',
    # A class that is nowhere counts 0 in the mean Dice.
    'loss.ignore_absent': False,
    # A determinant that mixes up axes 0 and 1, in the loss and in NJD, summed in the loss.
    'loss.jacobian_determinant': 'official',
    'loss.jacobian_reduction': 'sum',
    'evaluation.jacobian_determinant': 'official',
    # The velocity is sampled at test time, too.
    'inference.sample_velocity': True,
    # Our additions, which the official code does not have.
    'loss.inverse': 0.0,
    'inference.symmetric': False,
}
# The released semi-supervised AutoFuse-Trans has convolutional single branches, the unsupervised one Swin branches.
RELEASED_BRANCHES = {True: 'convolutional', False: 'swin'}


def with_official_switches(config: ConfigDict) -> ConfigDict:
    """Return the config with all switches set if `reproduce_official` is on, otherwise as it is.

    Args:
        config: Config, see configs/default.py. Switches that its model does not have are left out.

    Returns:
        A config of its own; the values of single switches in `config` do not count if `reproduce_official` is on.
    """
    config = config.copy_and_resolve_references()
    if config.reproduce_official:
        switches: dict[str, Any] = dict(OFFICIAL_SWITCHES)
        if 'single_branch' in config.model:
            switches['model.single_branch'] = RELEASED_BRANCHES[config.model.num_classes > 0]
        for field, value in switches.items():
            section, name = field.split('.')
            if name in config[section]:
                config[section][name] = value
    return config
