"""What of a config belongs to the machine that trained, where a run is scored on another one."""

import jax
from ml_collections import ConfigDict

from autofuse_jax.errors import COUNT
from autofuse_jax.training.precision import BFLOAT16, DEFAULT, has_bfloat16


def config_for_scoring(config: ConfigDict) -> tuple[ConfigDict, tuple[str, ...]]:
    """Return a config that scores on this machine what was trained on another.

    Args:
        config: Config of the run.

    Returns:
        The config, with as many devices as can share its batch, and float32 activations where the device has no
        bfloat16; and a sentence for each change. Parameters are float32 in any case.
    """
    numbers = (config.training.batch_size, config.training.depth_devices)
    if jax.process_count() > 1 or any(number not in COUNT for number in numbers):
        # Several processes compute on all of their devices; what is no number is told by the checks of a config.
        return config, ()
    here, remarks = config.copy_and_resolve_references(), []
    available, depth, batch = len(jax.devices()), config.training.depth_devices, config.training.batch_size
    wanted = config.training.devices or available
    depth = depth if 0 < depth <= available else 1
    shares = [number for number in range(1, min(wanted, available) // depth + 1) if batch % number == 0]
    devices = depth * max(shares, default=1)
    if (devices, depth) != (wanted, config.training.depth_devices):
        here.training.devices, here.training.depth_devices = devices, depth
        remarks.append(f'scored on {devices} of {available} devices, which can share a batch of {batch}')
    if config.training.precision == BFLOAT16 and not has_bfloat16(jax.devices()[0]):
        here.training.precision = DEFAULT
        remarks.append(f'scored in float32: {jax.devices()[0].device_kind} does not compute in {BFLOAT16}')
    return here, tuple(remarks)
