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
# # Train AutoFuse in minutes
#
# A registration network looks at two images and gives the deformation at once, where optimisation searches anew for
# each pair. This notebook trains a very small AutoFuse on phantom hearts, watches it learn, looks into its gates, and
# compares it with optimisation.
#
# Minutes are enough to see *that* it learns. Real trainings take longer: `autofuse-jax demo` (the same phantoms, 350
# steps of a network twice as wide) a few minutes on two processor cores, a small network for cardiac MRI an hour, and
# the 50,000 steps at full size of the paper belong on a GPU or TPU.

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
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

from autofuse_jax import AlignmentSettings, PipelineSettings, load_model, register_images
from autofuse_jax.data.phantom import random_phantom, render_frame, true_displacement
from autofuse_jax.data.volumes import Volume
from autofuse_jax.metrics.overlap import dice_per_label
from autofuse_jax.metrics.warping import warp_labels
from autofuse_jax.port_weights import main as port_weights

plt.rcParams['figure.dpi'] = 80
# Everything that is written goes into a temporary folder.
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)

# %% [markdown]
# ## The settings of a training
#
# Every setting has a name in a config; `default` is the paper's unsupervised AutoFuse on phantoms. We make it smaller
# and shorter. Unsupervised means that it learns from images alone: it is rewarded for making them alike by a smooth
# deformation. Labels serve to watch it.

# %%
STEPS = 60
settings = {
    'model.base_channels': 4,  # width of the network; the paper has 16
    'phases.phase_1.steps': STEPS,
    'phases.phase_1.pairs': 'ed_es',  # end of diastole to end of systole, or back
    'phases.phase_2.steps': 0,
    'loss.kl': 0.001,  # weight of smoothness; a tenth of the paper's, for voxels of 3 mm
    'optimizer.learning_rate': 1e-3,
    'optimizer.schedule': 'cosine',  # smaller and smaller steps towards the end
    'optimizer.warmup_steps': 10,
    'optimizer.clip_norm': 5.0,
    'data.phantom.train': 8,  # hearts to learn from
    'data.phantom.validation': 2,  # hearts to watch it by
    'data.phantom.test': 1,
    'training.log_every': 4,
    'training.validate_every': 15,
    'training.checkpoint_every': STEPS,
    'evaluation.pictures': 0,
}
command = [sys.executable, '-m', 'autofuse_jax.main', '--config=default', '--workdir=run']
command += [f'--config.{name}={value}' for name, value in settings.items()]

# %% [markdown]
# ## Train, and look on
#
# The training runs as a program of its own, as it would for days on a cluster, and writes a line of numbers every few
# steps into `run/metrics.jsonl`. We draw them each time another third is done. (The first minute goes into compiling.
# Stopped at any point, the same command continues where it was.)


# %%
def rows():
    """Return the rows that the training has written so far."""
    path = Path('run/metrics.jsonl')
    return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def draw_curves(rows):
    """Draw the loss of training, and the overlap of structures of hearts that are not trained on."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.6), layout='constrained')
    training = [(row['step'], row['loss']) for row in rows if row['kind'] == 'train']
    validation = [(row['step'], 100 * row['dsc_after']) for row in rows if row['kind'] == 'validation']
    left.plot(*zip(*training, strict=True))
    left.set(title='loss of training', xlabel='step', xlim=(0, STEPS))
    if validation:
        right.plot(*zip(*validation, strict=True), 'o-')
    right.set(title='DSC % of hearts not trained on', xlabel='step', xlim=(0, STEPS), ylim=(50, 100))
    plt.show()


started = time.time()
with open('training.log', 'w') as log:
    training = subprocess.Popen(command, stdout=log, stderr=log)
    for milestone in (STEPS // 3, 2 * STEPS // 3, STEPS):
        while training.poll() is None and max([row['step'] for row in rows()], default=0) < milestone:
            time.sleep(1)
        if training.poll() not in (None, 0):
            break
        draw_curves(rows())
    status = training.wait()
training_seconds = time.time() - started
print(f'training ended with status {status} after {training_seconds:.0f} seconds')

# %%
print('\n'.join(Path('training.log').read_text().splitlines()[-8:]))

# %% [markdown]
# ## Load the network
#
# `port_weights` turns the folder of a training into one file of weights and a JSON that says what they are.
# `load_model` takes it, and `register` two arrays.

# %%
status = port_weights(['--from=run', '--to=tiny.npz', '--naming=ours'])
tiny = load_model('tiny.npz')
print(f'{tiny.num_parameters:,} parameters')

# %% [markdown]
# A heart that it has never seen, with known motion:

# %%
spacing = (3.0, 3.0, 6.0)
phantom = random_phantom(np.random.default_rng(2024), shape=(48, 48, 16), spacing=spacing)
(fixed, fixed_labels), (moving, moving_labels) = (render_frame(phantom, frame) for frame in (1, phantom.systole))
truth = true_displacement(phantom, 1, phantom.systole)
heart = fixed_labels > 0

result = tiny.register(fixed, moving)
middle = 8
figure, panels = plt.subplots(1, 4, figsize=(12, 3.1), layout='constrained')
shown = {
    'fixed': fixed,
    'moving': moving,
    'moving, by the network': result.warped,
    'what is left': result.warped - fixed,
}
for panel, (title, image) in zip(panels, shown.items(), strict=True):
    limits = (-0.5, 0.5) if title == 'what is left' else (0, 1)
    panel.imshow(image[:, :, middle].T, cmap='gray', origin='lower', vmin=limits[0], vmax=limits[1])
    panel.contour(fixed_labels[:, :, middle].T > 0, levels=[0.5], colors='tab:green', linewidths=1)
    panel.set(title=title, xticks=[], yticks=[])
plt.show()

# %% [markdown]
# ## Gates
#
# AutoFuse does not fix where the two images are fused. Two branches look at each image alone, a third one at both, and
# at seven places **gates** decide, for each voxel and channel, how much comes from the third. A weight of 1 takes all
# from the fusion branch, 0 all from the single images. Gates 2 to 5 lie on the way down to coarse resolution, 6 to 8 on
# the way back up.
#
# Beside our tiny network we load `phantom`, weights that come with the package.

# %%
phantom_weights = load_model('phantom')
gates = {name: model.gate_weights(fixed, moving) for name, model in (('tiny', tiny), ('phantom', phantom_weights))}
order = sorted(gates['tiny'])
figure, panel = plt.subplots(figsize=(7, 2.8), layout='constrained')
for name, offset in (('tiny', -0.15), ('phantom', 0.15)):
    means = [gates[name][gate].mean() for gate in order]
    # All weights count, of voxels and of channels: a mean of a half can hide a gate that has learned to choose.
    spread = [gates[name][gate].std() for gate in order]
    panel.errorbar(np.arange(len(order)) + offset, means, spread, fmt='o', label=name)
panel.axhline(0.5, color='0.7', linewidth=0.8, zorder=0)
panel.set(xticks=range(len(order)), xticklabels=order, ylabel='weight, mean ± deviation', ylim=(0, 1))
panel.legend(frameon=False)
plt.show()

# %% [markdown]
# A map shows where: the weight of the finest gate, averaged over its channels, on the slice above. A training of
# minutes leaves gates near the half that they start from: mind the scales of the colours.

# %%
finest = order[-1]
figure, panels = plt.subplots(1, 2, figsize=(8, 3.2), layout='constrained')
for panel, name in zip(panels, gates, strict=True):
    weights = gates[name][finest].mean(axis=-1)
    picture = panel.imshow(weights[:, :, middle * weights.shape[2] // fixed.shape[2]].T, origin='lower', cmap='viridis')
    figure.colorbar(picture, ax=panel)
    panel.set(title=f'{finest} of {name}', xticks=[], yticks=[])
plt.show()

# %% [markdown]
# For images in files, `autofuse-jax register --weights tiny.npz --gate-maps ...` writes such maps as NIfTI.
#
# ## Network beside optimisation
#
# Three ways for the same pair: each network, and the optimisation of notebook 1. Times are those of a second call, when
# everything is compiled. (`register_images(fixed, moving, model=...)` does both: it starts from what the network says.)

# %%
affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
volumes = Volume(fixed, None, affine, 'fixed'), Volume(moving, None, affine, 'moving')
aligned = AlignmentSettings(kind='none', start='header')
ways = {
    'tiny network': lambda: tiny.register(fixed, moving).displacement,
    'phantom network': lambda: phantom_weights.register(fixed, moving).displacement,
    'optimisation': lambda: register_images(*volumes, PipelineSettings(alignment=aligned)).transform.displacement,
}
errors, overlaps, seconds = {}, {}, {}
nothing = np.zeros_like(truth)
for name, way in {'nothing': lambda: nothing, **ways}.items():
    way()
    started = time.time()
    displacement = way()
    seconds[name] = time.time() - started
    errors[name] = np.linalg.norm((displacement - truth) * spacing, axis=-1)[heart].mean()
    dice = dice_per_label(fixed_labels, warp_labels(moving_labels, displacement), (1, 2, 3))
    overlaps[name] = 100 * np.mean(list(dice.values()))

# %%
print(f'{"":32s}{"true error":>12s}{"DSC":>9s}{"time":>9s}')
for name in errors:
    print(f'{name:32s}{errors[name]:9.2f} mm{overlaps[name]:7.1f} %{seconds[name]:7.2f} s')

# %%
figure, panel = plt.subplots(figsize=(7, 2.4), layout='constrained')
panel.barh(list(errors), list(errors.values()), color=['0.7'] + ['tab:blue'] * len(ways))
panel.invert_yaxis()
panel.set(xlabel='true error in the heart, mm')
plt.show()

# %% [markdown]
# Optimisation searches for this pair alone; a network answers in a fraction of the time with what it learned from
# others. Phantoms are easy for both: the README has the numbers of patients.
#
# Next: [5_your_data_the_papers_data](5_your_data_the_papers_data.ipynb) takes images of your own.
