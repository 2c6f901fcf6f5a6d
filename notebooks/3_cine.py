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
# # Cine: from a 4-D series to curves
#
# A cine shows one heart at many moments of its beat. Every frame is registered to one of them, and the deformations
# give the volume of each chamber over time from a single segmentation, where it shrinks and grows, and how the wall
# strains. The series is a phantom, so that the true volumes are known.

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
import csv
import json
import os
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from autofuse_jax.data.phantom import CLASSES, random_phantom, render_frame
from autofuse_jax.data.volumes import read_image, write_image, write_labels
from autofuse_jax.register import main as register
from autofuse_jax.reports.inline import Picture

plt.rcParams['figure.dpi'] = 80
# Everything that is written goes into a temporary folder.
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)

# %% [markdown]
# ## A series and one segmentation
#
# Eight frames of a beat, in one 4-D file as scanners and archives give it, and labels of the first frame only.

# %%
spacing = (3.0, 3.0, 6.0)  # millimetres
phantom = random_phantom(np.random.default_rng(5), frames=8, shape=(48, 48, 16), spacing=spacing)
affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
drawn = [render_frame(phantom, frame) for frame in range(1, phantom.frames + 1)]
series = np.stack([image for image, _ in drawn], axis=-1)
write_image('cine.nii.gz', series, affine)
write_labels('first_frame_labels.nii.gz', drawn[0][1], affine)
Path('classes.json').write_text(json.dumps(CLASSES))
print('the series has shape', series.shape)

# %%
middle = 8
figure, panels = plt.subplots(1, 8, figsize=(12, 1.9), layout='constrained')
for frame, panel in enumerate(panels):
    panel.imshow(series[:, :, middle, frame].T, cmap='gray', origin='lower', vmin=0, vmax=1)
    panel.set(title=f'frame {frame}', xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Register every frame to the first
#
#     autofuse-jax register --moving cine.nii.gz --reference-frame 0 --fixed-labels first_frame_labels.nii.gz \
#         --classes classes.json --out result
#
# Frames are counted from 0. All frames have one size, so that only the first registration waits for the compiler.

# %%
status = register(
    ['--moving=cine.nii.gz', '--reference-frame=0', '--fixed-labels=first_frame_labels.nii.gz']
    + ['--classes=classes.json', '--out=result']
)
print('\n'.join(sorted(os.listdir('result'))))

# %% [markdown]
# ## Volumes
#
# The labels of frame 0 are carried to every frame and their voxels counted. `cine.png` of the result shows it, beside
# the mean Jacobian determinant: the factor by which a structure is larger or smaller than in frame 0.

# %%
Picture(Path('result/cine.png').read_bytes())

# %% [markdown]
# All numbers are in `curves.csv`, for your own statistics. Here the lines are those of the registration and the dots
# the truth of the phantom.

# %%
with open('result/curves.csv', newline='') as file:
    rows = list(csv.DictReader(file))
ml = np.prod(spacing) / 1000
names = {label: CLASSES[label].replace(' ', '_') for label in (1, 3)}
measured = {label: np.array([float(row[f'{name}_volume_ml']) for row in rows]) for label, name in names.items()}
true = {label: np.array([np.count_nonzero(labels == label) * ml for _, labels in drawn]) for label in names}

# %%
figure, panel = plt.subplots(figsize=(7, 3.6), layout='constrained')
for label, colour in ((1, 'tab:blue'), (3, 'tab:red')):
    panel.plot(measured[label], color=colour, label=f'{CLASSES[label]}, from registration')
    panel.plot(true[label], 'o', color=colour, label=f'{CLASSES[label]}, true')
panel.set(xlabel='frame', ylabel='volume (ml)', ylim=(0, None))
panel.legend(frameon=False, fontsize=8, loc='lower right')
plt.show()


# %% [markdown]
# The ejection fraction is the share of the largest volume that the beat pumps out.


# %%
def ejection_fraction(volumes):
    """Return the ejection fraction in percent."""
    return 100 * (1 - volumes.min() / volumes.max())


ejection_measured, ejection_true = ejection_fraction(measured[3]), ejection_fraction(true[3])
volume_error = np.abs(measured[3] - true[3]).mean()
print(f'ejection fraction of the left ventricle: {ejection_measured:.1f} %, true {ejection_true:.1f} %')
print(f'its volume is wrong by {volume_error:.1f} ml on average, of {true[3].max():.0f} ml')

# %% [markdown]
# ## Where it shrinks
#
# `jacobian_4d.nii.gz` holds the Jacobian determinant of every frame: blue tissue and blood take less room than in frame
# 0, red ones more.

# %%
jacobian = read_image('result/jacobian_4d.nii.gz', allow_series=True).image
largest = np.log(2)
figure, panels = plt.subplots(1, 8, figsize=(12, 2.2), layout='constrained')
for frame, panel in enumerate(panels):
    shown = panel.imshow(
        np.log(np.clip(jacobian[:, :, middle, frame], 0.01, None)).T,
        cmap='RdBu_r',
        origin='lower',
        vmin=-largest,
        vmax=largest,
    )
    panel.contour(drawn[0][1][:, :, middle].T > 0, levels=[0.5], colors='black', linewidths=0.7)
    panel.set(title=f'frame {frame}', xticks=[], yticks=[])
bar = figure.colorbar(shown, ax=panels, ticks=[-largest, 0, largest])
bar.set_ticklabels(['half', 'same', 'double'])
plt.show()

# %% [markdown]
# ## Strain
#
# The wall around the left ventricle gets thicker (radial strain above zero) and shorter around (circumferential strain
# below zero), as in a healthy heart.

# %%
Picture(Path('result/strain.png').read_bytes())

# %% [markdown]
# ## Is it to be trusted?

# %%
scores = json.loads(Path('result/report.json').read_text())['scores']
print(f'correlation with frame 0: {scores["ncc_before"]:.3f} before, {scores["ncc_after"]:.3f} after registration')
print(f'folded voxels in the worst frame: {scores["njd_percent"]:.4f} %')

# %% [markdown]
# `result/report.html` has all of this on one page. A longer cine takes about as long per frame.
#
# Next: [4_train_autofuse_in_minutes](4_train_autofuse_in_minutes.ipynb) trains a network that does the same at once.
