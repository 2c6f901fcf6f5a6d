"""Moving weights between this package and PyTorch implementations of the same networks."""

from autofuse_jax.porting.architectures import ARCHITECTURES, Architecture, recognise
from autofuse_jax.porting.convert import from_official, to_official

__all__ = ['ARCHITECTURES', 'Architecture', 'from_official', 'recognise', 'to_official']
