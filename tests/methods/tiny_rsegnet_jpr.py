"""Options of small versions of RSegNet and JPR-Net that learn one pair of 32 x 32 x 32 voxels quickly."""

TINY = {
    'rsegnet': ({'base_channels': 8, 'num_classes': 2}, {'prior_lambda': 10.0}),
    'jpr_net': ({'base_channels': 4, 'num_classes': 2}, {'smoothness': 0.1}),
}
