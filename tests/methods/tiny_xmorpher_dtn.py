"""Options of small versions of XMorpher and DTN that learn one pair of 32 x 32 x 32 voxels quickly."""

TINY = {
    'xmorpher': ({'embed_dim': 16, 'depths': (1, 1), 'num_heads': (1, 2), 'drop_path': 0.0}, {'smoothness': 0.1}),
    'dtn': (
        {
            'size': (32, 32, 32),
            'widths': (4, 8, 8, 8, 8),
            'token_width': 16,
            'depth': 1,
            'num_heads': 2,
            'decoder_widths': ((8,), (8,), (8,), (8, 8)),
        },
        {'smoothness': 0.1},
    ),
}
