"""The packages of a wheel: autofuse_jax, and configs/ as autofuse_jax.configs. All else is in pyproject.toml."""

from setuptools import find_packages, setup

CONFIGS = 'autofuse_jax.configs'

setup(
    packages=[
        *find_packages(include=['autofuse_jax', 'autofuse_jax.*']),
        CONFIGS,
        *(f'{CONFIGS}.{name}' for name in find_packages('configs')),
    ],
    package_dir={CONFIGS: 'configs'},
)
