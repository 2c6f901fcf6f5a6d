"""What `port_weights` does: read weights of either kind, and write them under other names or in another format."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.choices import OFFICIAL, OURS
from autofuse_jax.errors import UserError
from autofuse_jax.porting.architectures import Architecture, with_buffers
from autofuse_jax.porting.convert import check_shapes, from_official, to_official
from autofuse_jax.provenance import provenance
from autofuse_jax.storage.locks import locked
from autofuse_jax.storage.ready import finish_inside
from autofuse_jax.storage.temporary import remove_leftovers_of
from autofuse_jax.training.run_parameters import read_run
from autofuse_jax.weights.released import (
    Description,
    is_description,
    json_beside,
    read_arrays,
    read_released,
    write_arrays,
    write_released,
)

TORCH_SUFFIXES = ('.pt', '.pth')
NPZ_SUFFIX = '.npz'


def run(options: argparse.Namespace) -> None:
    """Convert the file that a command line names.

    Args:
        options: Options of `autofuse_jax.port_weights`.

    Raises:
        UserError: As in `port`.
    """
    port(options.source, options.target, options.architecture, options.naming, overwrite=options.overwrite)


def port(
    source: Path,
    target: Path,
    architecture: str | None = None,
    naming: str | None = None,
    *,
    overwrite: bool = False,
) -> None:
    """Convert a file of weights.

    Args:
        source: State dict, npz or folder of a training run.
        target: `.pt` or `.npz`.
        architecture: Name of the architecture; None: recognised.
        naming: 'ours' or 'official', of the names in an npz that is written; None: the other kind than in `source`.
        overwrite: Whether a file that is there may be replaced.

    Raises:
        UserError: The source cannot be read, its tensors are not those of the architecture, the target's suffix is
            unknown, or it exists and may not be replaced.
        OSError: The target cannot be written.
    """
    if target.suffix not in (*TORCH_SUFFIXES, NPZ_SUFFIX):
        raise UserError(f'{target} has the suffix {target.suffix!r}', expected='.pt or .npz', fix='correct --to')
    if target.suffix in TORCH_SUFFIXES and naming == OURS:
        raise UserError('--naming=ours with a .pt file', expected='official names in .pt', fix='write an .npz instead')
    with locked(target, beside=True):
        # Results that were complete when their process was killed are there, and are not replaced either.
        remove_leftovers_of(target)
        finish_inside(target.parent)
        # Before the work; what is beside it depends on what the source holds.
        _check_free(target, overwrite)
        _port(source, target, architecture, naming, overwrite)


def _port(source: Path, target: Path, architecture: str | None, naming: str | None, overwrite: bool) -> None:
    params, description, read_as = _read_params(source, architecture)
    if target.suffix in TORCH_SUFFIXES:
        naming = OFFICIAL
    elif naming is None:
        naming = OURS if read_as == OFFICIAL else OFFICIAL
    if naming == OURS:
        if description is None:
            raise UserError(
                f'{source} has no description {json_beside(source).name} beside it, without which ours cannot be made',
                fix='copy the JSON as well',
            )
        _check_free(json_beside(target), overwrite)
        _check_description(json_beside(target))
        write_released(target, params, description)
        files = f'{target} and {json_beside(target).name}'
        network_name = f'{description.method} ({_options_text(description.model)})'
    else:
        state, network = to_official(params, architecture)
        if target.suffix in TORCH_SUFFIXES or network.read_buffers is not None:
            state = with_buffers(state, _window(source, network, description))
        if target.suffix in TORCH_SUFFIXES:
            from autofuse_jax.porting.torch_files import write_state_dict

            write_state_dict(target, state)
        else:
            write_arrays(target, state)
        files, network_name = str(target), network.name
        if network.unused:
            print('the official class has further weights, which it never uses: load_state_dict(..., strict=False)')
    total = sum(array.size for array in params.values())
    print(f'{network_name}: {len(params)} tensors, {total:,} parameters\nwritten: {files}')


def _check_free(path: Path, overwrite: bool) -> None:
    if path.is_dir():
        raise UserError(f'{path} is a folder', expected='a file', fix='correct --to')
    if path.exists() and not overwrite:
        raise UserError(f'{path} exists', fix='correct --to, or add --overwrite to replace it')


def _check_description(path: Path) -> None:
    """Check that a JSON which would be replaced describes weights: it may be the config.json of a run."""
    if path.is_file() and not is_description(path):
        raise UserError(
            f'{path} describes no weights and will not be replaced',
            expected=f'a --to beside which {path.name} is free',
            fix='choose another name for --to',
        )


def _read_params(source: Path, architecture: str | None) -> tuple[Mapping[str, np.ndarray], Description | None, str]:
    """Return our parameters by flat name, what they are if that is known, and how they were named."""
    if source.is_dir():
        return *read_run(source), OURS
    if source.suffix in TORCH_SUFFIXES:
        from autofuse_jax.porting.torch_files import read_state_dict

        return *_convert(read_state_dict(source), source, architecture), OFFICIAL
    if source.suffix != NPZ_SUFFIX:
        raise UserError(
            f'{source} is neither a .pt file, an .npz file nor a folder', fix='correct --from, or check that it exists'
        )
    arrays = read_arrays(source)
    # Ours are paths in a tree, theirs have dots.
    if not any('/' in name for name in arrays):
        return *_convert(arrays, source, architecture), OFFICIAL
    if not json_beside(source).is_file():
        return arrays, None, OURS
    params, description = read_released(source)
    check_shapes(params, description.method, description.model)
    return params, description, OURS


def _convert(
    state: Mapping[str, np.ndarray], source: Path, architecture: str | None
) -> tuple[Mapping[str, np.ndarray], Description]:
    params, network, options = from_official(state, architecture)
    origin = {'ported_from': source.name, 'architecture': network.name, 'date': provenance()['date']}
    return params, Description(network.method, options, origin=origin)


def _window(source: Path, network: Architecture, description: Description | None) -> tuple[int, int, int] | None:
    """Return the attention window that buffers are made for; None: it is cubic, or there is none."""
    if network.read_buffers is None:
        return None
    if description is None:
        raise UserError(
            f'{source} has no description {json_beside(source).name} beside it, and {network.name} may have windows of '
            f'many forms',
            expected='the attention window, model.window in the description',
            fix='copy the JSON as well',
        )
    # A run's configuration names every option, a description at least the window.
    return tuple(description.model['window'])


def _options_text(options: Mapping[str, Any]) -> str:
    return ', '.join(f'{name}={value}' for name, value in options.items())
