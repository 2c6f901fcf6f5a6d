"""Files of other programs for tests, written as those programs write them."""

import struct

import numpy as np


def write_matlab(path, name, parameters, fixed):
    """A transform as ITK's MATLAB writer stores it: two columns of float64 in MATLAB's format of version 4."""
    with open(path, 'wb') as file:
        for title, values in ((name, parameters), ('fixed', fixed)):
            file.write(struct.pack('<5i', 0, len(values), 1, 0, len(title) + 1) + title.encode() + b'\0')
            file.write(np.asarray(values, '<f8').tobytes())
    return path


def write_matrix(path, matrix):
    """A matrix as flirt writes it."""
    np.savetxt(path, matrix, fmt='%.10g', delimiter='  ')
    return path


def write_lta(path, matrix, kind, source, destination, valid=1, count=1):
    """A linear transform array of FreeSurfer from the source to the destination grid."""
    lines = ['# transform file of a test', f'type      = {kind} # LINEAR', f'nxforms   = {count}']
    lines += ['mean      = 0.0000 0.0000 0.0000', 'sigma     = 10000.0000', '1 4 4']
    lines += [' '.join(f'{value:.15e}' for value in row) for row in matrix]
    for title, name, grid in (('src', 'moving.mgz', source), ('dst', 'fixed.mgz', destination)):
        spacing = np.asarray(grid.spacing)
        axes = grid.affine[:3, :3] / spacing
        middle = grid.affine[:3, :3] @ (np.asarray(grid.shape) / 2) + grid.affine[:3, 3]
        lines += [f'{title} volume info', f'valid = {valid}  # volume info valid', f'filename = /some/where/{name}']
        lines += ['volume = ' + ' '.join(map(str, grid.shape))]
        directions = zip(('xras', 'yras', 'zras'), axes.T, strict=True)
        for key, values in (('voxelsize', spacing), *directions, ('cras', middle)):
            lines.append(f'{key:9} = ' + ' '.join(f'{value:.15e}' for value in values))
    path.write_text('\n'.join([*lines, 'subject fsaverage', 'fscale 0.150000', '']))
    return path
