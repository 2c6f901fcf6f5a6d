"""Accelerators that programs can be compiled for without having one.

XLA compiles for a TPU from the name of its topology and for a GPU from a description of it. Their compilers come with
`pip install 'jax[tpu]'` and `pip install 'jax[cuda12]'` and need no device. What needs one is left out: on GPUs nobody
tries which of several kernels is fastest, so that convolutions get the library's default, without scratch memory.
"""

import dataclasses
import os

import jax
from jax.experimental import topologies

from autofuse_jax.errors import UserError

# What the compiler for TPUs would otherwise ask a machine that has one.
TPU_ENVIRONMENT = {
    'TPU_SKIP_MDS_QUERY': '1',
    'TPU_WORKER_HOSTNAMES': 'localhost',
    'TPU_ACCELERATOR_TYPE': 'v5litepod-4',
}
# Choosing kernels means running them.
GPU_OPTIONS = {'xla_gpu_autotune_level': 0, 'xla_gpu_enable_triton_gemm': False}


@dataclasses.dataclass(frozen=True)
class Target:
    """A kind of accelerator.

    Attributes:
        name: In words.
        platform: 'tpu' or 'cuda'.
        topology: Of up to four devices, in the words of the platform; '{}' stands for their number.
        description: Of a GPU, in the words of XLA.
    """

    name: str
    platform: str
    topology: str
    description: str = ''

    @property
    def options(self) -> dict[str, bool | int | str]:
        """Return what its compiler is told."""
        return GPU_OPTIONS if self.platform == 'cuda' else {}


# Figures from NVIDIA's data sheet and its tables of compute capability 9.0.
H100_DESCRIPTION = """
platform_name: "CUDA"
device_description_str: "NVIDIA H100 80GB HBM3"
gpu_device_info {
  cuda_compute_capability { major: 9 minor: 0 }
  core_count: 132
  fpus_per_core: 128
  clock_rate_ghz: 1.98
  threads_per_warp: 32
  threads_per_block_limit: 1024
  threads_per_core_limit: 2048
  registers_per_block_limit: 65536
  registers_per_core_limit: 65536
  shared_memory_per_block: 49152
  shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472
  block_dim_limit_x: 2147483647
  block_dim_limit_y: 65535
  block_dim_limit_z: 65535
  l2_cache_size: 52428800
  memory_bandwidth: 3350000000000
  device_memory_size: 80000000000
}
runtime_version { major: 12 minor: 9 }
dnn_version_info { major: 9 minor: 10 }
"""
TARGETS = {
    'h100': Target('NVIDIA H100', 'cuda', '1x1x{}', H100_DESCRIPTION),
    'v5e': Target('TPU v5e', 'tpu', 'v5e:2x2'),
}


def devices_of(target: Target, number: int) -> list[jax.Device]:
    """Return devices to compile for; nothing can be put on them.

    Args:
        target: The accelerator.
        number: Of devices, 1 to 4.

    Raises:
        UserError: Its compiler is not installed.
    """
    os.environ |= {name: os.environ.get(name, value) for name, value in TPU_ENVIRONMENT.items()}
    topology = target.topology.format(number)
    arguments = {'topology': topology, 'target_config': target.description} if target.platform == 'cuda' else {}
    try:
        topology_description = topologies.get_topology_desc(topology, target.platform, **arguments)
    except (RuntimeError, NotImplementedError, ValueError) as error:
        extra = {'cuda': 'cuda12', 'tpu': 'tpu'}[target.platform]
        raise UserError(
            f'programs for {target.name} cannot be compiled here ({str(error).splitlines()[0]})',
            fix=f"pip install 'jax[{extra}]', in an environment of its own",
        ) from error
    return list(topology_description.devices)[:number]
