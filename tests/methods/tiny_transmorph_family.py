"""Options of small versions of TransMorph and TransMatch that learn one pair of 32 x 32 x 32 voxels quickly."""

SMALL = {'embed_dim': 8, 'depths': (1, 1, 1, 1), 'num_heads': (1, 1, 2, 2), 'window': (2, 2, 2), 'drop_path': 0.0}
TINY = {
    'transmorph': (SMALL | {'head_channels': 8}, {'smoothness': 0.1}),
    'transmatch': (SMALL | {'cross_heads': 2}, {'smoothness': 0.1}),
}
