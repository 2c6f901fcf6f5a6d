"""Transforms in text, as ITK, FreeSurfer and FSL write them."""

LINEAR = '#Insight Transform File V1.0\n#Transform 0\nTransform: {}\nParameters: {}\nFixedParameters: {}\n'
ITK_KINDS = {
    'AffineTransform_double_3_3': '1 0 0 0 1 0 0 0 1 0 0 0',
    'VersorRigid3DTransform_double_3_3': '0 0 0 1 2 3',
    'Euler3DTransform_double_3_3': '0.1 0 0 1 2 3',
    'QuaternionRigidTransform_double_3_3': '0 0 0 1 1 2 3',
    'Similarity3DTransform_double_3_3': '0 0 0 1 2 3 1',
    'ScaleSkewVersor3DTransform_double_3_3': '0 0 0 1 2 3 1 1 1 0 0 0 0 0 0',
    'DisplacementFieldTransform_double_3_3': ' '.join(['0'] * 24),
}
GRID = '2 2 2 0 0 0 1 1 1 1 0 0 0 1 0 0 0 1'
LTA = 'type = 1\nnxforms = 1\nmean = 0 0 0\nsigma = 1\n1 4 4\n1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n' + ''.join(
    f'{name} volume info\nvalid = 1\nfilename = a.mgz\nvolume = 4 4 4\nvoxelsize = 1 1 1\nxras = 1 0 0\nyras = 0 1 0\n'
    'zras = 0 0 1\ncras = 0 0 0\n'
    for name in ('src', 'dst')
)


def text_of(kind):
    """Return the name of a file and its text: of a kind of ITK's transforms, 'lta' or 'flirt'."""
    if kind in ITK_KINDS:
        return 'a.tfm', LINEAR.format(kind, ITK_KINDS[kind], GRID if kind.startswith('Disp') else '0 0 0')
    return ('a.lta', LTA) if kind == 'lta' else ('a.mat', '1 0 0 0\n0 1 0 0\n0 0 1 0\n0 0 0 1\n')
