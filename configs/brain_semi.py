"""Semi-supervised AutoFuse on brains as in the paper: 50,000 steps on labelled subjects, 50,000 on half-labelled pairs.

    python -m autofuse_jax.main --config=configs/brain_semi.py --config.data.root=DIR

Made for an accelerator. The paper's training set has labels for 314 of 2,970 subjects (a tenth): OASIS joined with
ADNI, ABIDE, ADHD and IXI (`python -m autofuse_jax.prepare --dataset=joined`). For a tenth of OASIS alone add
--config.data.labelled_subjects=31. Training uses the 19 merged structures, evaluation the original labels; the paper
reports 84.5 % DSC and 0.026 % NJD on OASIS.
"""

import ml_collections

from autofuse_jax.configs import brain_unsup


def get_config() -> ml_collections.ConfigDict:
    """Return the config; `data.root` must be given."""
    config = brain_unsup.get_config()
    config.model.num_classes = 20
    config.phases.phase_1.steps = 50_000
    config.phases.phase_1.pairs = 'inter_labelled'
    config.phases.phase_2.steps = 50_000
    config.phases.phase_2.pairs = 'inter_semi'
    return config
