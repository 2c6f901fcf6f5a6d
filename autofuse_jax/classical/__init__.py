"""Classical registration for comparisons: ANTs SyN and NiftyReg, without training and without jax."""

from autofuse_jax.classical.interface import Availability, ClassicalMethod
from autofuse_jax.classical.niftyreg import NiftyRegSettings, find_tools, register_with_niftyreg
from autofuse_jax.classical.syn import SynSettings, check_ants, register_with_syn

__all__ = [
    'CLASSICAL',
    'Availability',
    'ClassicalMethod',
    'NiftyRegSettings',
    'SynSettings',
    'register_with_niftyreg',
    'register_with_syn',
]

# Name: the method.
CLASSICAL = {
    'syn': ClassicalMethod(
        'ANTs SyN, cross-correlation', SynSettings, register_with_syn, lambda settings: check_ants()
    ),
    'niftyreg': ClassicalMethod(
        'NiftyReg, local cross-correlation', NiftyRegSettings, register_with_niftyreg, find_tools
    ),
}
