"""The rows of the paper's tables and of Fig. 5: what method each is, and which options differ from the defaults."""

import dataclasses
import re
from collections.abc import Mapping
from typing import Any

from autofuse_jax.errors import UserError

# Learning rate of AutoFuse, and of most of the methods that it is compared with.
PAPER_RATE = 1e-4


@dataclasses.dataclass(frozen=True)
class Row:
    """One row of a table.

    Attributes:
        title: Name in tables.
        method: A key of `autofuse_jax.methods.registry.METHODS`.
        model: Options of its network that differ from the defaults.
        loss: Options of its objective that differ from the defaults.
        semi: Whether it is trained with labels on part of the data.
        labelled_pairs: Whether it is trained on pairs only that are labelled on both sides.
        first_share: Share of the steps that are its first stage, of a method with stages; 0: it has none.
        classes: Where it takes the number of classes from the task: 'model', 'loss', or '' where it has none.
        published_rate: Learning rate that its authors trained with; where they state none, the paper's.
        labelled_subjects: Training subjects whose labels may be used; None (default): as many as the task says.
    """

    title: str
    method: str
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    loss: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    semi: bool = False
    labelled_pairs: bool = False
    first_share: float = 0.0
    classes: str = ''
    published_rate: float = PAPER_RATE
    labelled_subjects: int | None = None


def _semi(title: str, method: str, first_share: float = 0.0, **model: Any) -> Row:
    return Row(title, method, model, semi=True, first_share=first_share, classes='model')


def _table_7(title: str, fusion: str, feed: bool) -> Row:
    return _semi(title, 'autofuse', large_kernel=False, fusion=fusion, feed_segmentation=feed)


UNSUPERVISED = {
    'voxelmorph': Row('VoxelMorph', 'voxelmorph'),
    'voxelmorph_diff': Row('DifVM', 'voxelmorph_diff'),
    'lku_net': Row('LKU-Net (8)', 'lku_net'),
    'lku_net_16': Row('LKU-Net (16)', 'lku_net', {'channels': 16}),
    'transmorph': Row('TransMorph', 'transmorph'),
    'dtn': Row('DTN (re-implementation)', 'dtn'),
    'xmorpher': Row('XMorpher', 'xmorpher'),
    'sen': Row('SEN', 'sen'),
    'transmatch': Row('TransMatch', 'transmatch', published_rate=4e-4),
    'early_fuse': Row('EarlyFuse', 'early_fuse'),
    'mid_fuse': Row('MidFuse', 'mid_fuse'),
    'late_fuse': Row('LateFuse', 'late_fuse'),
    'multi_fuse': Row('MultiFuse', 'multi_fuse'),
    'autofuse_no_elk': Row('AutoFuse without ELK', 'autofuse', {'large_kernel': False}),
    # Without a velocity there is no divergence; what else keeps the field smooth the paper does not say.
    'autofuse_disp': Row('AutoFuse-disp', 'autofuse', {'output': 'displacement'}, {'kl': 0.0}),
    'autofuse': Row('AutoFuse', 'autofuse'),
    'autofuse_trans': Row('AutoFuse-Trans', 'autofuse_trans'),
}
# The first shares are those of the methods' own schedules: RSegNet trains its networks apart for 40 %, PC-Reg has two
# equal stages, GL-Net segments alone for the first tenth.
SEMI_SUPERVISED = {
    'ws_voxelmorph': Row('WS-VM', 'ws_voxelmorph', semi=True, labelled_pairs=True, classes='loss'),
    'rsegnet': _semi('RSegNet', 'rsegnet', first_share=0.4),
    'jpr_net': _semi('JPR-Net', 'jpr_net'),
    'pc_reg': _semi('PC-Reg', 'pc_reg', first_share=0.5),
    'ac_dmir': _semi('AC-DMiR (reference configuration)', 'ac_dmir'),
    'gl_net': _semi('GL-Net (reconstruction)', 'gl_net', first_share=0.1),
    'loss_fusion': _table_7('loss fusion only', 'none', False),
    'feature_fusion': _table_7('+ feature fusion', 'sum', False),
    'input_fusion': _table_7('+ input fusion', 'none', True),
    'feature_input_fusion': _table_7('+ feature and input fusion', 'sum', True),
    'gated_fusion': _table_7('+ fusion gate', 'gate', True),
    'autofuse_semi': _semi('AutoFuse, semi-supervised', 'autofuse'),
    'autofuse_trans_semi': _semi('AutoFuse-Trans, semi-supervised', 'autofuse_trans'),
}
ROWS = UNSUPERVISED | SEMI_SUPERVISED
# Rows by the paper's tables; what each is compared with comes last.
TABLES = {
    '1 and 2': ('voxelmorph', 'voxelmorph_diff', 'lku_net', 'lku_net_16', 'transmorph', 'dtn', 'xmorpher', 'sen')
    + ('transmatch', 'autofuse', 'autofuse_trans'),
    '3': ('early_fuse', 'mid_fuse', 'late_fuse', 'multi_fuse', 'autofuse_no_elk', 'autofuse'),
    '5 and 6': ('ws_voxelmorph', 'rsegnet', 'jpr_net', 'pc_reg', 'ac_dmir', 'gl_net', 'autofuse_trans_semi')
    + ('autofuse_semi',),
    '7': ('loss_fusion', 'feature_fusion', 'input_fusion', 'feature_input_fusion', 'gated_fusion', 'autofuse_semi'),
}
# Rows of Table 4 that no other table has: weights of Eq. 1, lambda = 50 and mu = 1e-5 elsewhere.
REGULARISATION = {
    'autofuse_disp_mu_0': Row(
        'AutoFuse-disp, mu = 0', 'autofuse', {'output': 'displacement'}, {'kl': 0.0, 'jacobian': 0.0}
    ),
    'autofuse_mu_0': Row('AutoFuse, lambda = 50, mu = 0', 'autofuse', loss={'jacobian': 0.0}),
    'autofuse_lambda_200': Row(
        'AutoFuse, lambda = 200, mu = 0', 'autofuse', loss={'prior_lambda': 200.0, 'jacobian': 0.0}
    ),
    'autofuse_lambda_400': Row(
        'AutoFuse, lambda = 400, mu = 0', 'autofuse', loss={'prior_lambda': 400.0, 'jacobian': 0.0}
    ),
}
# Rows of Fig. 5: the number of subjects with labels, and whether they are trained on alone.
LABELLED_NAME = re.compile(r'autofuse_(\d+)_labelled(_alone)?')


def labelled_name(count: int, *, alone: bool = False) -> str:
    """Return the name of the semi-supervised AutoFuse that sees the labels of so many training subjects.

    Args:
        count: Number of subjects; 0: the unsupervised AutoFuse.
        alone: Whether it is trained on those subjects only; default False: on all others without labels, too.
    """
    return f'autofuse_{count}_labelled{"_alone" if alone else ""}' if count else 'autofuse'


def find_row(name: str) -> Row:
    """Return a row of any table or figure.

    Args:
        name: A key of `ROWS` or `REGULARISATION`, or a result of `labelled_name`.

    Raises:
        UserError: There is no such row.
    """
    for rows in (ROWS, REGULARISATION):
        if name in rows:
            return rows[name]
    match = LABELLED_NAME.fullmatch(name)
    if match is None or not int(match[1]):
        raise UserError(f'unknown row {name!r}', expected=f'one of {", ".join(ROWS)}', fix='correct the name')
    count, alone = int(match[1]), match[2] is not None
    title = f'AutoFuse, {count} labelled{" alone" if alone else ""}'
    return Row(title, 'autofuse', semi=True, labelled_pairs=alone, classes='model', labelled_subjects=count)
