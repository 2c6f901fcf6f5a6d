"""Options of small versions of VoxelMorph and its relatives that learn one pair of 32 x 32 x 32 voxels quickly."""

TINY = {
    'voxelmorph': ({'base_channels': 8}, {'smoothness': 0.1}),
    'voxelmorph_diff': ({'base_channels': 8}, {'prior_lambda': 10.0}),
    'ws_voxelmorph': ({'base_channels': 8}, {'smoothness': 0.1, 'num_classes': 2}),
    'lku_net': ({'channels': 4}, {'smoothness': 0.1}),
    'sen': ({'base_channels': 2, 'displacement_range': 20.0}, {'smoothness': 0.1}),
}
