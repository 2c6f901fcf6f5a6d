"""How tests of `register` call it: options that take little time, and the scene, on two grids, in their files."""

from tests.registration.scenes import centred_grid, rotation_and_shift

# Levels and shapes as in tests/registration, so that they share what is compiled.
QUICK = ['--shrink=2,1', '--steps=20,10', '--smoothness=0.2', '--align=rigid']
CHEAP = ['--align=none', '--no-deform', '--no-page']
FIXED_GRID = centred_grid((32, 36, 28), (3.0, 3.0, 3.0))
MOVING_GRID = centred_grid((60, 56, 30), (2.0, 2.0, 4.0), turn=20, axes='LPS')
TURN = rotation_and_shift(10.0, (3.0, -5.0, 2.0))


def command(files, out, *more):
    quick = QUICK if '--no-deform' not in more else []
    return [f'--fixed={files}/fixed.nii.gz', f'--moving={files}/moving.nii.gz', f'--out={out}', *quick, *more]
