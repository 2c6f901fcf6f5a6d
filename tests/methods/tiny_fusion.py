"""Versions of AutoFuse, of its fusion baselines and of the rows of Table 7 that train in seconds on one core."""

# Method: options of its network and of its loss. The methods of Table 3 are unsupervised; so is AutoFuse there.
TINY = {
    'autofuse': ({'base_channels': 4, 'large_kernel': False, 'num_classes': 2}, {}),
    'early_fuse': ({'base_channels': 4}, {}),
    'mid_fuse': ({'base_channels': 4}, {}),
    'late_fuse': ({'base_channels': 4}, {}),
    'multi_fuse': ({'base_channels': 4}, {}),
}
# Row of Table 7: options of AutoFuse in which it differs from the others.
ROWS = {
    'loss': {'fusion': 'none', 'feed_segmentation': False},
    'feature': {'fusion': 'sum', 'feed_segmentation': False},
    'input': {'fusion': 'none', 'feed_segmentation': True},
    'feature and input': {'fusion': 'sum', 'feed_segmentation': True},
    'gate': {'fusion': 'gate', 'feed_segmentation': True},
}
# AutoFuse-disp has no divergence that keeps its field smooth.
DISPLACEMENT = ({'base_channels': 4, 'large_kernel': False, 'output': 'displacement'}, {'smoothness': 0.1})
