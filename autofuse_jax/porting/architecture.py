"""A network that exists here and in PyTorch: its tensors, and how a state dict tells its options."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from autofuse_jax.porting.names import Tensor

Shapes = Mapping[str, tuple[int, ...]]
Buffers = Mapping[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network that exists here and in PyTorch.

    Attributes:
        name: Name on the command line.
        method: Name of our method, a key of `autofuse_jax.methods.registry.METHODS`.
        tensors: All learned tensors in the order of the official state dict.
        read_options: (official shapes by name) -> options of our network.
        read_buffers: (official shapes, integer buffers by name) -> further options, of a network whose shapes do not
            tell them all; None: they do.
        unused: Beginnings of the official names of what the official class holds and never uses. It is dropped on
            import, and not there in what is exported.
    """

    name: str
    method: str
    tensors: tuple[Tensor, ...]
    read_options: Callable[[Shapes], dict[str, Any]]
    read_buffers: Callable[[Shapes, Buffers], dict[str, Any]] | None = None
    unused: tuple[str, ...] = ()

    @property
    def official_names(self) -> tuple[str, ...]:
        """Keys of the official state dict, integer buffers left out."""
        return tuple(tensor.official for tensor in self.tensors)

    @property
    def our_names(self) -> tuple[str, ...]:
        """Names of our parameters, in the same order."""
        return tuple(tensor.ours for tensor in self.tensors)

    def options_of(self, shapes: Shapes, buffers: Buffers) -> dict[str, Any]:
        """Return the options of our network that a state dict fits.

        Args:
            shapes: Official shapes by name.
            buffers: Integer buffers by official name; may be empty where the shapes tell everything.

        Raises:
            UserError: The options cannot be told.
        """
        further = {} if self.read_buffers is None else self.read_buffers(shapes, buffers)
        return self.read_options(shapes) | further

    def is_unused(self, official: str) -> bool:
        """Tell whether an official name belongs to what the official class holds and never uses."""
        return official.startswith(self.unused)
