"""Reading and writing `.pt` files, the only file that imports torch."""

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from autofuse_jax.errors import UserError
from autofuse_jax.files import replacing

# Under these keys training scripts keep the state dict beside optimiser and epoch.
NESTED_KEYS = ('state_dict', 'model_state_dict', 'model_state', 'model', 'net', 'network')


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Read the tensors of a `.pt` file.

    Only tensors and plain containers are read (`weights_only=True`): nothing in the file is executed.

    Args:
        path: File with a state dict, or with a dictionary that has one under 'state_dict', 'model' or the like.

    Returns:
        Arrays by name, in the file's order; bfloat16 as float32.

    Raises:
        UserError: torch is not installed; the file is missing or damaged; it holds a pickled module or no state dict.
    """
    torch = _torch()
    if not path.is_file():
        raise UserError(f'there is no file {path}', fix='correct the path')
    try:
        content = torch.load(path, map_location='cpu', weights_only=True)
    except Exception as error:
        # Of damaged bytes an unpickler asks anything of its stack and of the constructors of tensors: all of it says
        # the same, whatever its type.
        # A complete file is a zip archive; what is in a complete one and cannot be unpickled is more than tensors.
        if not (isinstance(error, pickle.UnpicklingError) and zipfile.is_zipfile(path)):
            raise UserError(
                f'{path} cannot be read as a PyTorch file ({_first_line(error)})',
                expected='a complete file that torch.save wrote',
                fix='check that it was copied completely',
            ) from error
        raise UserError(
            f'{path} holds more than tensors, such as a whole pickled module, which is never executed here',
            expected='a state dict: torch.save(model.state_dict(), path)',
            fix='load the module in the program it came from and save its state dict',
        ) from error
    state = _find_state_dict(content, torch)
    if state is None:
        raise UserError(
            f'{path} holds no state dict',
            expected=f'tensors by name, at the top or under one of {", ".join(NESTED_KEYS)}',
            fix='save model.state_dict()',
        )
    return {name: _to_numpy(tensor, torch) for name, tensor in state.items()}


def write_state_dict(path: Path, state: Mapping[str, np.ndarray]) -> None:
    """Write a state dict that `load_state_dict(torch.load(path, weights_only=True))` accepts.

    Args:
        path: The `.pt` file.
        state: Arrays by name.

    Raises:
        UserError: torch is not installed.
        OSError: The folder cannot be written.
    """
    torch = _torch()
    tensors = OrderedDict((name, torch.from_numpy(np.array(array))) for name, array in state.items())
    with replacing(path) as temporary:
        torch.save(tensors, temporary)


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            'torch is not installed, and .pt files cannot be read or written without it',
            fix="pip install 'autofuse_jax[torch]', or use .npz files",
        ) from error
    return torch


def _find_state_dict(content: Any, torch: Any) -> Mapping[str, Any] | None:
    if not isinstance(content, Mapping):
        return None
    if content and all(isinstance(value, torch.Tensor) for value in content.values()):
        return content
    for key in NESTED_KEYS:
        state = _find_state_dict(content.get(key), torch)
        if state is not None:
            return state
    return None


def _to_numpy(tensor: Any, torch: Any) -> np.ndarray:
    # NumPy has no bfloat16.
    return (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().contiguous().numpy()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
