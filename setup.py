"""The packages of a wheel: autofuse_jax, configs/ and weights/ inside it. Their files and all else: pyproject.toml."""

from setuptools import find_packages, setup

CONFIGS = 'autofuse_jax.configs'
# Where weights/shipped.py of the package looks for weights by name.
WEIGHTS = 'autofuse_jax.shipped_weights'

setup(
    packages=[
        *find_packages(include=['autofuse_jax', 'autofuse_jax.*']),
        CONFIGS,
        *(f'{CONFIGS}.{name}' for name in find_packages('configs')),
        WEIGHTS,
    ],
    package_dir={CONFIGS: 'configs', WEIGHTS: 'weights'},
)
