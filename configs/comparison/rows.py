"""The rows of the paper's tables: which method each is, and which of its options differ from the defaults."""

import dataclasses
from collections.abc import Mapping
from typing import Any

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
