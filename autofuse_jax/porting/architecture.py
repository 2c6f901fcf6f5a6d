"""A network that exists here and in PyTorch: its tensors, and how a state dict tells its options."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from autofuse_jax.porting.names import Tensor

Shapes = Mapping[str, tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network that exists here and in PyTorch.

    Attributes:
        name: What the command line calls it.
        method: Name of our method, a key of `autofuse_jax.methods.METHODS`.
        tensors: All learned tensors in the order of the official state dict.
        read_options: (official shapes by name) -> options of our network.
    """

    name: str
    method: str
    tensors: tuple[Tensor, ...]
    read_options: Callable[[Shapes], dict[str, Any]]

    @property
    def official_names(self) -> tuple[str, ...]:
        """Keys of the official state dict, integer buffers left out."""
        return tuple(tensor.official for tensor in self.tensors)

    @property
    def our_names(self) -> tuple[str, ...]:
        """Names of our parameters, in the same order."""
        return tuple(tensor.ours for tensor in self.tensors)
