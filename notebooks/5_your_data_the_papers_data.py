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
# # Your data, the paper's data
#
# From files as they come from an archive to a table with statistics: prepare a data set for training, register its
# pairs in two ways, compare the two under a protocol, and move weights from and to the authors' PyTorch code. Cells
# that need data or a program that is not there say so and are left out; the rest runs on phantoms.

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
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np

import autofuse_jax
from autofuse_jax.data.manifests import read_manifest
from autofuse_jax.data.phantom import random_phantom, render_frame
from autofuse_jax.data.prepared import load_frame
from autofuse_jax.data.volumes import write_image, write_labels
from autofuse_jax.evaluate import main as evaluate
from autofuse_jax.port_weights import main as port_weights
from autofuse_jax.prepare import main as prepare
from autofuse_jax.register import main as register

plt.rcParams['figure.dpi'] = 80
# What may be there: real data in the folder that AUTOFUSE_JAX_DATA names, or in ../shared/data beside the checkout.
checkout = Path(autofuse_jax.__file__).resolve().parents[1]
data = Path(os.environ.get('AUTOFUSE_JAX_DATA', checkout.parent / 'shared' / 'data')).resolve()
# Everything that is written goes into a temporary folder.
folder = tempfile.TemporaryDirectory()
os.chdir(folder.name)

# %% [markdown]
# ## A folder of your own
#
# `prepare` reads data sets in the layouts in which they are published. For hearts the plain one is: a folder a patient
# with images and segmentations at the end of diastole (ED) and systole (ES), and a table. We write four phantoms in
# this way, as NIfTI; write yours likewise. (Brains: `--dataset=folder`; `autofuse-jax prepare --help` lists all.)

# %%
spacing = (3.0, 3.0, 6.0)  # millimetres
affine = np.diag([-spacing[0], spacing[1], spacing[2], 1.0])
patients = [f'patient{number:03d}' for number in range(1, 5)]
table = ['patient,group,phase,frame']
for number, patient in enumerate(patients):
    phantom = random_phantom(np.random.default_rng(100 + number), shape=(48, 48, 16), spacing=spacing)
    for phase, frame in (('ED', 1), ('ES', phantom.systole)):
        image, labels = render_frame(phantom, frame)
        write_image(f'mine/{patient}/image_{phase}.nii.gz', 1000 * image, affine)
        write_labels(f'mine/{patient}/seg_{phase}.nii.gz', labels, affine)
        table.append(f'{patient},NOR,{phase},{frame}')
Path('mine/cases.csv').write_text('\n'.join(table) + '\n')
# Who is trained on and who is only watched; a patient is in one of them.
Path('mine/splits.json').write_text(json.dumps({'acdc': {'train': patients[:3], 'validation': patients[3:]}}))
print('\n'.join(sorted(str(path) for path in Path('mine').rglob('*') if path.is_file())[:8]), '...', sep='\n')

# %% [markdown]
# ## Prepare
#
#     autofuse-jax prepare --dataset acdc --source mine --out prepared --shape 48,48,16 --spacing 3,3,6
#
# brings all frames to one grid and to grey values from 0 to 1, checks every file, and says what it found.

# %%
status = prepare(
    ['--dataset=acdc', '--source=mine', '--out=prepared', '--shape=48,48,16', '--spacing=3,3,6', '--workers=1']
)


# %%
def show_prepared(root, title):
    """Draw the middle slices of the first subjects that were prepared, with the outlines of their labels."""
    manifest = read_manifest(root)
    frames = [(subject.id, frame) for subject in manifest.subjects[:3] for frame in subject.frames if frame.has_labels]
    figure, panels = plt.subplots(1, len(frames), figsize=(2 * len(frames), 2.5), layout='constrained')
    for panel, (name, frame) in zip(panels, frames, strict=True):
        volume = load_frame(manifest, frame)
        middle = volume.image.shape[2] // 2
        panel.imshow(volume.image[:, :, middle].T, cmap='gray', origin='lower')
        panel.contour(volume.labels[:, :, middle].T, levels=[0.5, 1.5, 2.5], colors='tab:orange', linewidths=0.8)
        panel.set(title=f'{name} {frame.phase}', xticks=[], yticks=[])
    figure.suptitle(title)
    plt.show()


show_prepared('prepared', 'prepared phantoms')

# %% [markdown]
# A training on such a folder is one command; the [train page](../docs/train.md) has the configs and how long they take:
#
#     autofuse-jax train --config cardiac_cpu_semi --config.data.root=prepared --workdir runs/mine
#
# ## The paper's data: ACDC
#
# The cardiac part of the paper uses ACDC, which anybody may download after registering with its authors. The same
# command prepares it.

# %%
acdc = data / 'acdc'
acdc_scores = None
if not acdc.is_dir():
    print('There is no ACDC here, so this cell and the next are left out.')
    print('Name the folder that holds it with the variable AUTOFUSE_JAX_DATA to run them.')
else:
    # Two patients are enough to see it work; links, because nothing is copied.
    Path('acdc').mkdir()
    rows = (acdc / 'cases.csv').read_text().splitlines()
    chosen = sorted({row.split(',')[0] for row in rows[1:]})[:2]
    for patient in chosen:
        Path('acdc', patient).symlink_to(acdc / patient)
    kept = [rows[0]] + [row for row in rows[1:] if row.split(',')[0] in chosen]
    Path('acdc/cases.csv').write_text('\n'.join(kept) + '\n')
    Path('acdc/splits.json').write_text(json.dumps({'acdc': {'train': chosen[:1], 'validation': chosen[1:]}}))
    prepare(['--dataset=acdc', '--source=acdc', '--out=prepared_acdc', '--shape=64,64,16', '--spacing=3,3,6.3'])
    show_prepared('prepared_acdc', 'prepared ACDC')

# %%
if acdc.is_dir():
    patient = chosen[0]
    register(
        [f'--fixed=acdc/{patient}/image_ED.nii.gz', f'--moving=acdc/{patient}/image_ES.nii.gz', '--align=none']
        + [f'--fixed-labels=acdc/{patient}/seg_ED.nii.gz', f'--moving-labels=acdc/{patient}/seg_ES.nii.gz']
        + ['--spacing=3', '--out=result_acdc']
    )
    acdc_scores = json.loads(Path('result_acdc/report.json').read_text())['scores']

# %% [markdown]
# ## Register all pairs, in two ways
#
# One table of pairs, one command, one folder a pair; interrupted, the same command goes on. The two ways differ in how
# stiff the deformation is.

# %%
names = ['fixed,moving,fixed_labels,moving_labels,name']
for patient in patients:
    for fixed, moving in (('ED', 'ES'), ('ES', 'ED')):
        files = [f'mine/{patient}/{kind}_{phase}.nii.gz' for kind in ('image', 'seg') for phase in (fixed, moving)]
        names.append(','.join([*files, f'{patient}_{moving}_to_{fixed}']))
Path('pairs.csv').write_text('\n'.join(names) + '\n')
Path('classes.json').write_text(json.dumps({1: 'right ventricle', 2: 'myocardium', 3: 'left ventricle'}))
common = ['--pairs=pairs.csv', '--align=none', '--classes=classes.json', '--no-page']
status = register([*common, '--out=results/default'])

# %%
status = register([*common, '--smoothness=4', '--out=results/stiff'])

# %% [markdown]
# ## Evaluate under a protocol, with statistics
#
# A **protocol** fixes how scores are made: which labels, which distances, how folding is counted. `default` is ours,
# `learn2reg` that of the challenge. Both ways are scored on the same pairs, and each score of the second is compared
# with the first: a paired Wilcoxon test, corrected for the number of comparisons, with effect size and confidence
# interval.
#
#     autofuse-jax evaluate results/default results/stiff --protocol default learn2reg --out evaluation

# %%
status = evaluate(['results/default', 'results/stiff', '--protocol', 'default', 'learn2reg', '--out=evaluation'])

# %% [markdown]
# The folder `evaluation` holds the numbers of each pair and structure (CSV, JSON) and tables for a paper (Markdown,
# LaTeX). This is the comparison:

# %%
print(Path('evaluation/default/comparison.md').read_text())

# %%
scores = {way: [] for way in ('default', 'stiff')}
for way, values in scores.items():
    for report in sorted(Path('results', way).glob('*/report.json')):
        values.append(json.loads(report.read_text())['scores'])
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 2.8), layout='constrained')
for row, values in enumerate(scores.values()):
    overlap = [100 * one['dsc_after'] for one in values]
    spread = [one['sdlogj'] for one in values]
    left.plot(overlap, [row] * len(overlap), 'o', alpha=0.6)
    right.plot(spread, [row] * len(spread), 'o', alpha=0.6)
left.set(xlabel='DSC %, one dot a pair', yticks=[0, 1], yticklabels=list(scores), ylim=(-0.5, 1.5))
right.set(xlabel='SDlogJ (roughness), one dot a pair', yticks=[0, 1], yticklabels=[], ylim=(-0.5, 1.5))
plt.show()
dsc = {way: float(np.mean([one['dsc_after'] for one in values])) for way, values in scores.items()}

# %% [markdown]
# More overlap is bought with a rougher deformation; a comparison has to show both. (Phantoms prove nothing about
# patients, however small P is.)
#
# ## Weights from and to PyTorch
#
# The networks here have the same layers as the authors' PyTorch code, and `port_weights` turns one file into the
# other. Here the weights `phantom` go to PyTorch and come back.

# %%
torch_is_here = importlib.util.find_spec('torch') is not None
weights_came_back = None
if not torch_is_here:
    print('PyTorch is not installed, so the cells about its weights are left out: pip install torch adds it.')
else:
    from autofuse_jax.weights.released import read_released
    from autofuse_jax.weights.shipped import weights_file

    source = weights_file('phantom')
    port_weights([f'--from={source}', '--to=phantom.pt'])
    port_weights(['--from=phantom.pt', '--to=back.npz', '--architecture=autofuse_semi'])
    (first, _), (second, _) = read_released(source), read_released(Path('back.npz'))
    weights_came_back = first.keys() == second.keys() and all(
        np.array_equal(first[name], second[name]) for name in first
    )
    print('every weight came back:', weights_came_back)

# %% [markdown]
# ## The same numbers, layer by layer?
#
# With a copy of the authors' `networks.py` (its licence is the GPL, so it is not part of this package) both networks
# run on the same images with the same weights, and the outputs of all layers are compared. Name the file with the
# variable `AUTOFUSE_NETWORKS`. It is executed, so use one that you trust.

# %%
networks = os.environ.get('AUTOFUSE_NETWORKS', '')
layers = None
if not torch_is_here:
    print('PyTorch is not installed, so nothing is compared.')
elif not (checkout / 'experiments').is_dir():
    print('The comparison is part of a checkout of the repository, and this is an installed package.')
elif not Path(networks).is_file():
    print("AUTOFUSE_NETWORKS names no file of the authors' networks, so nothing is compared.")
    print('docs/official.md has the differences that we measured.')
else:
    command = [sys.executable, '-m', 'experiments.agreement.compare_with_pytorch', f'--networks={networks}']
    command += ['--class=AutoFuse', '--size', '32', '32', '32', f'--out={Path("layers.json").resolve()}']
    subprocess.run(command, cwd=checkout, check=True)
    layers = json.loads(Path('layers.json').read_text())['differences']
    for row in layers:
        print(f'{row["name"]:40s} {row["largest_difference"]:.1e}')

# %% [markdown]
# That was the last one. [docs/register.md](../docs/register.md) and [docs/train.md](../docs/train.md) have every
# option, [docs/paper.md](../docs/paper.md) the tables and figures of the paper beside ours.
