# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Transforms: labels, points, inverse, other programs
#
# A registration leaves a transform, a map from places in one image to places in another, and this notebook shows what
# such a file holds and what can be done with it. To be able to check every step, the transform here is not the result
# of a registration but the exact motion of a phantom heart. With a result of `register` all works the same.

# %%
# On Google Colab this cell installs the package and looks for a GPU or TPU. Everywhere else it does nothing.
import subprocess
import sys

if 'google.colab' in sys.modules:
    repository = ''  # @param {type: "string", placeholder: "git+https:// address of your copy of the repository"}
    if not repository:
        sys.exit('Write the address of your copy of the repository into the field of this cell, then run it again.')
    subprocess.run([sys.executable, '-m', 'pip', 'install', '--quiet', repository], check=True)
    # A process of its own looks, because a TPU belongs to the first process that touches it.
    look = 'import jax; device = jax.devices()[0]; print(device.platform.upper(), device.device_kind, sep=", ")'
    found = subprocess.run([sys.executable, '-c', look], capture_output=True, text=True, check=True).stdout.strip()
    print(f'Installed. JAX computes on: {found}')
    if found.startswith('CPU'):
        print('There is no GPU or TPU; all of this notebook runs without one.')

# %%
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from autofuse_jax.apply_transform import main as apply_transform
from autofuse_jax.data.phantom import CLASSES, random_phantom, render_frame, true_displacement
from autofuse_jax.data.volumes import read_image, read_labels, write_image, write_labels
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.transforms.grids import ImageGrid, to_voxels, to_world
from autofuse_jax.transforms.maps import DenseTransform
from autofuse_jax.transforms_io.files import read_transform, write_transform
from autofuse_jax.transforms_io.points import read_points
from autofuse_jax.transforms_io.sidecar import ImageRecord, TransformInfo

plt.rcParams['figure.dpi'] = 80
# Everything that is written goes into a temporary folder.
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)

# %% [markdown]
# ## Three frames of a heart
#
# Frame 1 is relaxed (end of diastole, `ed`), frame 3 contracted (end of systole, `es`), frame 2 between them.

# %%
spacing = (2.0, 2.0, 6.0)  # millimetres
phantom = random_phantom(np.random.default_rng(3), shape=(72, 72, 16), spacing=spacing)
affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
grid = ImageGrid(phantom.shape, affine)
frames = {'ed': 1, 'mid': 2, 'es': 3}
for name, frame in frames.items():
    image, labels = render_frame(phantom, frame)
    write_image(f'{name}.nii.gz', image, affine)
    write_labels(f'{name}_labels.nii.gz', labels, affine)


# %% [markdown]
# Now the files of three transforms. `es_to_ed` brings the image `es` (moving) onto the image `ed` (fixed).


# %%
def save_motion(moving, fixed):
    """Write the exact motion between two frames as a displacement field that ITK, ANTs and Slicer read."""
    displacement = true_displacement(phantom, frames[fixed], frames[moving]).astype(np.float32)
    info = TransformInfo(
        fixed=ImageRecord(f'{fixed}.nii.gz', grid),
        moving=ImageRecord(f'{moving}.nii.gz', grid),
        inverse=f'{fixed}_to_{moving}.nii.gz',
    )
    write_transform(f'{moving}_to_{fixed}.nii.gz', DenseTransform(displacement, affine), 'itk', info)


for moving, fixed in (('es', 'ed'), ('ed', 'es'), ('es', 'mid'), ('mid', 'ed')):
    save_motion(moving, fixed)
print('\n'.join(sorted(path.name for path in Path().glob('*_to_*'))))

# %% [markdown]
# ## What is in a file
#
# Beside each field lies a small JSON: which images it belongs to, its convention, the file of its inverse. `--explain`
# says all of it in words, of files of other programs as well.

# %%
status = apply_transform(['--explain', 'es_to_ed.nii.gz'])

# %% [markdown]
# ## Images and labels
#
# An image is **pulled**: every voxel of the fixed image asks the transform where in the moving image to read. Labels
# are never mixed with each other: each voxel takes the label that is nearest.
#
#     autofuse-jax apply --transform es_to_ed.nii.gz --image es.nii.gz --labels es_labels.nii.gz --out moved

# %%
status = apply_transform(
    ['--transform=es_to_ed.nii.gz', '--image=es.nii.gz', '--labels=es_labels.nii.gz', '--out=moved']
)

# %%
structures = {label: name for label, name in CLASSES.items() if label}
ed_labels, es_labels = (read_labels(f'{name}_labels.nii.gz')[0] for name in ('ed', 'es'))
moved_labels, _ = read_labels('moved/es_labels_moved.nii.gz')
overlap_before = dice_per_label(ed_labels, es_labels, structures)
overlap = dice_per_label(ed_labels, moved_labels, structures)
for label, name in structures.items():
    print(f'{name:26s} {100 * overlap_before[label]:5.1f} % -> {100 * overlap[label]:5.1f} %')

# %%
middle = 8
shown = {
    'ed (fixed)': read_image('ed.nii.gz').image,
    'es (moving)': read_image('es.nii.gz').image,
    'es, moved to ed': read_image('moved/es_moved.nii.gz').image,
}
figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), layout='constrained')
for panel, (title, image) in zip(panels, shown.items(), strict=True):
    panel.imshow(image[:, :, middle].T, cmap='gray', origin='lower')
    panel.contour(ed_labels[:, :, middle].T > 0, levels=[0.5], colors='tab:green')
    panel.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# The green line is the outline of the heart in `ed` in all three. (The overlap is not 100 %, because a label map is a
# grid of voxels and the truth is not.)
#
# ## Points
#
# Points are **pushed**: a point that somebody set in the moving image is to go where that tissue lies in the fixed
# image. This is the other direction than that of images, a classic source of mistakes; the command does it right and
# says what it did.
#
# Our landmarks are ten places of the heart muscle in `ed` and where they really are in `es`. We move the latter and
# should get the former.

# %%
forward = DenseTransform(true_displacement(phantom, 1, 3).astype(np.float32), affine)
muscle = np.argwhere(ed_labels == 2)
in_ed = to_world(affine, muscle[np.linspace(0, len(muscle) - 1, 10).astype(int)])
in_es = forward.map_points(in_ed)
rows = [','.join(f'{value:.4f}' for value in point) for point in in_es]
Path('landmarks.csv').write_text('\n'.join(['x,y,z', *rows]) + '\n')
status = apply_transform(['--transform=es_to_ed.nii.gz', '--points=landmarks.csv', '--out=moved'])

# %%
moved_points = read_points(Path('moved/landmarks_moved.csv')).points
distance_before = np.linalg.norm(in_es - in_ed, axis=-1)
distance = np.linalg.norm(moved_points - in_ed, axis=-1)
print(f'distance to the true places: {distance_before.mean():.2f} mm before, {distance.mean():.4f} mm after')

# %% [markdown]
# ## Inverse
#
# `inverse:` before a file, or `--inverse`, turns a transform round. For a field it is solved point by point, unless the
# JSON names a file that is the inverse. There and back should end where it began:

# %%
transform, info = read_transform('es_to_ed.nii.gz')
inverse, _ = read_transform('ed_to_es.nii.gz')
there_and_back = inverse.map_points(transform.map_points(in_ed))
inverse_error = np.linalg.norm(there_and_back - in_ed, axis=-1)
print(f'there and back: {inverse_error.mean():.3f} mm on average, {inverse_error.max():.3f} mm at most')

# %%
figure, panel = plt.subplots(figsize=(5, 4.4), layout='constrained')
panel.imshow(shown['es (moving)'][:, :, middle].T, cmap='gray', origin='lower')
# Every third voxel of the slice, with the place that it reads from.
voxels = np.stack(np.meshgrid(np.arange(0, 72, 3), np.arange(0, 72, 3), [middle], indexing='ij'), -1)[:, :, 0]
reads = to_voxels(affine, transform.map_points(to_world(affine, voxels)))
step = (reads - voxels)[..., :2]
panel.quiver(
    voxels[..., 0],
    voxels[..., 1],
    step[..., 0],
    step[..., 1],
    color='tab:orange',
    angles='xy',
    scale_units='xy',
    scale=1,
    width=0.005,
)
panel.set(title='where each voxel of ed reads in es', xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Composition
#
# Two transforms in a row are named in the order in which an image passes through them: from `es` to `mid`, then from
# `mid` to `ed`. They are joined first, so that the image is interpolated once and does not get blurred twice.
#
#     autofuse-jax apply --transform es_to_mid.nii.gz mid_to_ed.nii.gz --image es.nii.gz --out joined

# %%
status = apply_transform(
    ['--transform', 'es_to_mid.nii.gz', 'mid_to_ed.nii.gz', '--image', 'es.nii.gz', '--out', 'joined']
    + ['--save-transform', 'joined/es_over_mid_to_ed.nii.gz']
)

# %%
joined, _ = read_transform('joined/es_over_mid_to_ed.nii.gz')
heart = to_world(affine, np.argwhere(ed_labels > 0))
composition_error = np.linalg.norm(joined.map_points(heart) - transform.map_points(heart), axis=-1)
print(f'over mid and straight differ by {composition_error.mean():.3f} mm on average over the heart')

# %% [markdown]
# What comes of moving the image twice instead: fine detail is lost at each interpolation.

# %%
status = apply_transform(['--transform=es_to_mid.nii.gz', '--image=es.nii.gz', '--out=twice'])
status = apply_transform(['--transform=mid_to_ed.nii.gz', '--image=twice/es_moved.nii.gz', '--out=twice'])
once, twice = read_image('joined/es_moved.nii.gz').image, read_image('twice/es_moved_moved.nii.gz').image


def sharpness(image):
    """Mean length of the gradient of the grey values inside the heart, per millimetre."""
    return np.linalg.norm(np.gradient(image, *spacing), axis=0)[ed_labels > 0].mean()


sharp_once, sharp_twice = sharpness(once), sharpness(twice)
print(f'grey values change by {sharp_once:.4f} per mm when moved once, {sharp_twice:.4f} when moved twice')

# %%
figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), layout='constrained')
pictures = {'moved once': once, 'moved twice': twice, 'once minus twice': once - twice}
for panel, (title, image) in zip(panels, pictures.items(), strict=True):
    limits = (-0.2, 0.2) if 'minus' in title else (0, 1)
    panel.imshow(image[12:60, 16:60, middle].T, cmap='gray', origin='lower', vmin=limits[0], vmax=limits[1])
    panel.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Other programs
#
# SimpleITK reads the very same field. It counts in LPS millimetres (the first two axes run the other way than in
# NIfTI), which the file takes into account; a point has to be turned before and after.

# %%
try:
    import SimpleITK as sitk
except ImportError:
    sitk = None
    print('SimpleITK is not installed, so this comparison is left out: pip install SimpleITK adds it.')

itk_difference = None
if sitk is not None:
    field = sitk.ReadImage('es_to_ed.nii.gz', sitk.sitkVectorFloat64)
    itk_transform = sitk.DisplacementFieldTransform(field)
    ras_to_lps = np.array([-1.0, -1.0, 1.0])
    itk_points = [itk_transform.TransformPoint(tuple(point * ras_to_lps)) for point in in_ed]
    itk_difference = np.abs(np.array(itk_points) * ras_to_lps - transform.map_points(in_ed)).max()
    print(f'SimpleITK and autofuse_jax: {itk_difference:.1e} mm apart at most')

# %% [markdown]
# Other programs have other conventions, and `--format` writes them: `itk` (ANTs, SimpleITK, Slicer), `fsl`,
# `learn2reg`, `voxel` (plain displacements in voxels).

# %%
status = apply_transform(
    ['--transform=es_to_ed.nii.gz', '--format=fsl', '--save-transform=es_to_ed_fsl.nii.gz']
) or apply_transform(['--explain', 'es_to_ed_fsl.nii.gz'])

# %% [markdown]
# Next: [3_cine](3_cine.ipynb) follows a heart through a whole beat.
