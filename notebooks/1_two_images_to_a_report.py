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
# # Two images to a report
#
# Registration finds, for every place in a **fixed** image, where the same tissue lies in a **moving** image.
# This notebook registers two phases of a beating heart whose motion is known exactly, so that at the end we can say by
# how many millimetres the answer is wrong. Nothing is downloaded and no training is needed.
#
# The first registration of a size takes up to a minute: JAX translates the computation for this machine
# ("compiles"). The result is kept on disk, so that the second one takes seconds.

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

import matplotlib.pyplot as plt
import numpy as np

from autofuse_jax import AlignmentSettings, PipelineSettings, register_images
from autofuse_jax.data.phantom import CLASSES, random_phantom, render_frame, true_displacement
from autofuse_jax.data.volumes import Volume, write_image, write_labels
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.register import main as register
from autofuse_jax.registration.measures import measure_result
from autofuse_jax.registration.pictures import registration_picture

plt.rcParams['figure.dpi'] = 80
# Everything that is written goes into a temporary folder.
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)

# %% [markdown]
# ## A heart whose motion is known
#
# The phantom is drawn from formulas: a chest with a left and a right ventricle, noise and uneven brightness. Frame 1 is
# the end of diastole (relaxed), another one the end of systole (contracted).

# %%
spacing = (3.0, 3.0, 6.0)  # millimetres
phantom = random_phantom(np.random.default_rng(3), shape=(48, 48, 16), spacing=spacing)
# From voxel numbers to millimetres in the scanner, as in the header of a NIfTI file.
affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
fixed = Volume(*render_frame(phantom, 1), affine, 'end of diastole')
moving = Volume(*render_frame(phantom, phantom.systole), affine, 'end of systole')
print(fixed.image.shape, 'voxels of', spacing, 'mm')

# %%
middle = 8
figure, panels = plt.subplots(1, 3, figsize=(10, 3.4), layout='constrained')
for panel, image, title in zip(
    panels,
    (fixed.image, moving.image, moving.image - fixed.image),
    ('fixed: end of diastole', 'moving: end of systole', 'moving minus fixed'),
    strict=True,
):
    limits = (-0.5, 0.5) if 'minus' in title else (0, 1)
    shown = panel.imshow(image[:, :, middle].T, cmap='gray', origin='lower', vmin=limits[0], vmax=limits[1])
    panel.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Register
#
# One call. Both frames come from one scan, so their headers already say where they lie, and the linear alignment that
# comes first by default is left out. For two visits or two patients leave `settings` out.
#
# The labels of the phantom ride along for scoring; the registration never looks at them.

# %%
settings = PipelineSettings(alignment=AlignmentSettings(kind='none', start='header'))
result = register_images(fixed, moving, settings)
print(f'{result.seconds:.0f} seconds, most of them for compiling if this size is new to this machine')
for stage in result.stages:
    print(f'  {stage["name"]}: {stage["steps"]} steps, loss {stage["loss_first"]:.3f} to {stage["loss_last"]:.3f}')

# %% [markdown]
# Left: the structures of the fixed image, a colour each. Middle and right: blue outlines are those of the fixed image
# again, orange ones belong to the moving image. After registration, on the right, they should lie on each other.

# %%
structures = {label: name for label, name in CLASSES.items() if label}
measures = measure_result(result)
registration_picture(result, names=structures, measures=measures)

# %% [markdown]
# ## How wrong is it, in millimetres?
#
# For real patients nobody knows. For the phantom we do: `true_displacement` says where each voxel really went. We look
# at the heart only, because the chest around it is uniform: where an image shows nothing, no method can see motion.

# %%
truth = true_displacement(phantom, 1, phantom.systole)  # voxels, like the result
motion_mm = np.linalg.norm(truth * spacing, axis=-1)
error_mm = np.linalg.norm((result.transform.displacement - truth) * spacing, axis=-1)
heart = fixed.labels > 0
true_motion, true_error = motion_mm[heart].mean(), error_mm[heart].mean()
print(f'the heart moves by {true_motion:.2f} mm on average, {motion_mm[heart].max():.1f} mm at most')
print(f'the registration is wrong by {true_error:.2f} mm on average; by less than', end=' ')
print(f'{np.percentile(error_mm[heart], 95):.1f} mm at 95 % of the places')

# %%
figure, panels = plt.subplots(1, 2, figsize=(8, 3.6), layout='constrained')
maps = {'true motion': motion_mm, 'error after registration': error_mm}
for panel, (title, values) in zip(panels, maps.items(), strict=True):
    inside = np.where(heart, values, np.nan)[:, :, middle]
    shown = panel.imshow(inside.T, origin='lower', cmap='viridis', vmin=0, vmax=motion_mm[heart].max())
    panel.set(title=title, xticks=[], yticks=[])
figure.colorbar(shown, ax=panels, label='mm')
plt.show()

# %% [markdown]
# ## What can be said without the truth
#
# **Overlap.** The Dice coefficient (DSC) of each structure: 100 % where outlines agree.

# %%
before = dice_per_label(fixed.labels, moving.labels, structures)
after = dice_per_label(fixed.labels, result.moved_labels, structures)
for label, name in structures.items():
    print(f'{name:26s} {100 * before[label]:5.1f} % -> {100 * after[label]:5.1f} %')

# %% [markdown]
# **What is left.** The difference of grey values before and after, on one scale.

# %%
registration_picture(result, ['difference before', 'difference after'], measures=measures)

# %% [markdown]
# **Is the deformation possible?** The Jacobian determinant is the factor by which each small volume grows (red) or
# shrinks (blue) from the fixed to the moving image. Where it is below zero, tissue would be turned inside out
# ("folded"); a share of folded voxels of zero is what we want.

# %%
registration_picture(result, ['deformation grid', 'Jacobian determinant'], measures=measures)

# %% [markdown]
# ## The verdict
#
# All of this evidence is weighed into one of three words: good, look at it, or failed.

# %%
print(f'{measures.verdict.level}: {measures.verdict.headline}')
for remark in (*measures.verdict.warnings, *measures.verdict.remarks):
    print('-', remark)

# %% [markdown]
# ## The report
#
# With files, the same is one command:
#
#     autofuse-jax register --fixed fixed.nii.gz --moving moving.nii.gz --align none --out result
#
# It writes the moved image, the transform in both directions for other programs, and `report.html`: one page with the
# verdict, pictures and scores, to open in any browser. Here the command is called from Python.

# %%
for name, volume in (('fixed', fixed), ('moving', moving)):
    write_image(f'{name}.nii.gz', volume.image, affine)
    write_labels(f'{name}_labels.nii.gz', volume.labels, affine)
status = register(
    ['--fixed=fixed.nii.gz', '--moving=moving.nii.gz', '--align=none', '--out=result']
    + ['--fixed-labels=fixed_labels.nii.gz', '--moving-labels=moving_labels.nii.gz']
)
for name in sorted(os.listdir('result')):
    print(f'{os.path.getsize(f"result/{name}") / 1000:8.1f} kB  {name}')

# %% [markdown]
# Next: [2_transforms](2_transforms.ipynb) uses such transforms for labels, points and other programs.
