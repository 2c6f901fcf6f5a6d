"""Semi-supervised AutoFuse on ACDC for two CPU cores, second part: it segments already, and learns to register.

    autofuse-jax teach --data=DIR --out=TEACHER --labels
    python -m autofuse_jax.port_weights --from=runs/cardiac_segmentation --to=segmenting.npz --naming=ours
    python -m autofuse_jax.main --config=configs/cardiac_taught_semi.py --config.data.root=DIR \\
        --config.data.teacher=TEACHER --config.weights=segmenting.npz

The fusion branch learns the teacher's velocities first, without warping anything, then with the paper's loss beside
them. The branch that segments stays as `cardiac_segmentation.py` made it.
"""

import ml_collections

from configs import cardiac_segmentation


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root`, `data.teacher` and `weights` must be given."""
    config = cardiac_segmentation.get_config()
    # Slices of 6.3 mm are enough for the motion: guided optimisation with such velocities reaches 90 to 95 %.
    config.model.fusion_pooling = (2, 2, 2)
    config.model.fine_pooling = (2, 2, 1)
    config.data.augmentation.rotation = 15.0
    config.data.augmentation.scale = 0.1
    config.data.augmentation.gamma = 0.2
    config.loss.segmentation_phases = ()
    config.loss.teacher_phases = ('phase_0',)
    config.loss.fusion_phases = ('phase_1',)
    config.loss.teacher = 0.3
    config.loss.kl = 0.001
    config.loss.inverse = 1.0
    config.phases.phase_0 = ml_collections.ConfigDict({'steps': 600, 'pairs': 'ed_es', 'crop': (0, 0, 0)})
    config.phases.phase_1 = ml_collections.ConfigDict({'steps': 300, 'pairs': 'ed_es', 'crop': (0, 0, 0)})
    # A step of Adam changes the field by up to 432 times the rate of the last layer: more than 4e-4 makes the field
    # jump, and at 2e-3 it stayed worse than none for 180 steps.
    config.optimizer.learning_rate = 4e-4
    config.optimizer.warmup_steps = 30
    # Gates that start at exactly 0.5 move by their own small gradients only.
    config.optimizer.multiples = (('gate_fusion', 5.0), ('gate_single', 5.0))
    return config
