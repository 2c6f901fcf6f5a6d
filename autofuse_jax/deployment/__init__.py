"""Networks without JAX: StableHLO for accelerators and compilers, OpenVINO for CPUs."""
