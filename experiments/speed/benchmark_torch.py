"""What the benchmark times in eager PyTorch: a training step, and the operations on fields and images.

Written for this benchmark from the formulas of the paper. Layouts are those of PyTorch, (B, C, D, H, W); displacements
are in voxels, pull direction. The package does not use it.
"""

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch._subclasses.fake_tensor import FakeTensorMode

SQUARINGS = 7
NCC_WINDOW = 9
EPSILON = 1e-5
KL_WEIGHT, PRIOR, JACOBIAN_WEIGHT = 0.01, 50.0, 1e-5
LEARNING_RATE = 1e-4


def identity_grid(shape: tuple[int, ...], device: torch.device) -> torch.Tensor:
    """Return voxel positions, (1, 3, D, H, W)."""
    axes = [torch.arange(size, dtype=torch.float32, device=device) for size in shape]
    return torch.stack(torch.meshgrid(*axes, indexing='ij'))[None]


def warp(volume: torch.Tensor, displacement: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Sample a volume at displaced positions by `grid_sample`."""
    position = grid + displacement
    sizes = torch.tensor(volume.shape[2:], dtype=torch.float32, device=volume.device).view(1, 3, 1, 1, 1)
    scaled = 2 * position / (sizes - 1) - 1
    # grid_sample counts axes from the last one.
    return F.grid_sample(volume, scaled.permute(0, 2, 3, 4, 1).flip(-1), align_corners=True)


def integrate(velocity: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Scaling and squaring."""
    displacement = velocity / 2**SQUARINGS
    for _ in range(SQUARINGS):
        displacement = displacement + warp(displacement, displacement, grid)
    return displacement


def negative_ncc(fixed: torch.Tensor, warped: torch.Tensor) -> torch.Tensor:
    """Return minus the mean squared local correlation, its sums as dense convolutions, as is usual in PyTorch."""
    ones = torch.ones(1, 1, *[NCC_WINDOW] * 3, device=fixed.device)
    products = (fixed, warped, fixed * fixed, warped * warped, fixed * warped)
    i, j, ii, jj, ij = (F.conv3d(image, ones, padding=NCC_WINDOW // 2) for image in products)
    n = NCC_WINDOW**3
    cross = ij - i * j / n
    return -(cross * cross / ((ii - i * i / n) * (jj - j * j / n) + EPSILON)).mean()


def kl_divergence(mean: torch.Tensor, log_variance: torch.Tensor) -> torch.Tensor:
    """Return the divergence of the velocity from a smooth prior (its inner part; borders do not matter for time)."""
    slopes = sum((mean.diff(dim=axis) ** 2).mean() for axis in (2, 3, 4)) / 3
    return 1.5 * ((2 * 3 * PRIOR * log_variance.exp() - log_variance).mean() + PRIOR * slopes)


def folding(flow: torch.Tensor) -> torch.Tensor:
    """Return the sum of the negative parts of the Jacobian determinant."""
    slopes = []
    for axis in (2, 3, 4):
        slopes.append(flow.narrow(axis, 1, flow.shape[axis] - 1) - flow.narrow(axis, 0, flow.shape[axis] - 1))
    slopes = [slope[:, :, : flow.shape[2] - 1, : flow.shape[3] - 1, : flow.shape[4] - 1] for slope in slopes]
    a, b, c = (slope[0] for slope in slopes)
    a, b, c = a[0] + 1, b, c
    rows = [(a, slopes[0][0, 1], slopes[0][0, 2]), (b[0], b[1] + 1, b[2]), (c[0], c[1], c[2] + 1)]
    (p, q, r), (s, t, u), (v, w, x) = rows
    determinant = p * (t * x - u * w) - q * (s * x - u * v) + r * (s * w - t * v)
    return F.relu(-determinant).sum()


def set_precision(precision: str) -> None:
    """Let products round to TF32, as JAX does by default on the same GPUs, or not in 'float32'."""
    allowed = precision != 'float32'
    torch.backends.cudnn.allow_tf32 = allowed
    torch.backends.cuda.matmul.allow_tf32 = allowed


def computing(device: torch.device, precision: str) -> contextlib.AbstractContextManager:
    """Return the context in which a network computes: PyTorch's automatic choice of types for 'bfloat16'."""
    if precision == 'bfloat16':
        return torch.autocast(device.type, torch.bfloat16)
    return contextlib.nullcontext()


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int | None:
    """Return the most memory that a run takes with all that is there already; None on CPU, where nobody counts."""
    if device.type != 'cuda':
        return None
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats(device)
    run()
    return torch.cuda.max_memory_allocated(device)


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was asked for."""
    if device.type == 'cuda':
        torch.cuda.synchronize()


def forward_pass(
    network: torch.nn.Module, fixed: torch.Tensor, moving: torch.Tensor, precision: str = 'default'
) -> Callable[[], None]:
    """Return a function that runs the network; arguments as those of `training_step`."""

    def forward() -> None:
        with torch.no_grad(), computing(fixed.device, precision):
            network(fixed, moving)
        wait_for(fixed.device)

    return forward


def training_step(
    network: torch.nn.Module, fixed: torch.Tensor, moving: torch.Tensor, precision: str = 'default'
) -> Callable[[], None]:
    """Return a function that does one step of Adam on the unsupervised objective.

    Args:
        network: Returns flow, mean and log-variance (two arrays, or one with twice the channels), and warped image.
        fixed: (1, 1, D, H, W).
        moving: (1, 1, D, H, W).
        precision: In which the network computes; the losses are in float32.
    """
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        objective(network, fixed, moving, precision).backward()
        optimizer.step()
        wait_for(fixed.device)

    return step


def objective(network: torch.nn.Module, fixed: torch.Tensor, moving: torch.Tensor, precision: str) -> torch.Tensor:
    """Return the unsupervised objective; arguments as those of `training_step`."""
    with computing(fixed.device, precision):
        flow, distribution, warped = network(fixed, moving)[:3]
    if isinstance(distribution, torch.Tensor):
        # The authors' networks join both along the channels.
        distribution = distribution.chunk(2, dim=1)
    mean, log_variance = (part.float() for part in distribution)
    loss = negative_ncc(fixed, warped) + KL_WEIGHT * kl_divergence(mean, log_variance)
    return loss + JACOBIAN_WEIGHT * folding(flow)


def kept_bytes(build: Callable[[], torch.nn.Module], size: tuple[int, int, int], precision: str = 'default') -> int:
    """Return what a training step has in memory at the end of its forward pass, from shapes alone.

    Parameters, the two moments of Adam, the images, and all that PyTorch says it keeps for the reverse pass, each piece
    of memory once. The most that a step takes is more: gradients, and scratch memory of convolutions.

    Args:
        build: Makes the network; see `training_step`.
        size: (D, H, W) of the images.
        precision: In which the network computes.
    """
    pieces: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        # The piece itself, too: where one is given up, another may get its number.
        storage = tensor.untyped_storage()
        pieces[storage._cdata] = storage
        return tensor

    with FakeTensorMode():
        network = build()
        images = [keep(torch.rand(1, 1, *size)) for _ in range(2)]
        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            # What it is made of lives as long as the objective does.
            value = objective(network, *images, precision)
        weights = [keep(weight) for weight in network.parameters()]
        moments = 2 * sum(weight.untyped_storage().nbytes() for weight in weights)
        bytes_for_reverse = sum(storage.nbytes() for storage in pieces.values())
        del value
    return bytes_for_reverse + moments


def operations(shape: tuple[int, int, int], device: torch.device, seed: int = 0) -> dict[str, Callable[[], Any]]:
    """Return the operations on random volumes of a size, by name.

    Args:
        shape: (D, H, W) of images; velocities have half of it.
        device: Where.
        seed: Of the random volumes.
    """
    rng = np.random.default_rng(seed)
    half = tuple(size // 2 for size in shape)
    image, other = (torch.from_numpy(rng.random((1, 1, *shape), np.float32)).to(device) for _ in range(2))
    flow = torch.from_numpy(rng.normal(size=(1, 3, *shape)).astype(np.float32)).to(device)
    velocity = torch.from_numpy(rng.normal(size=(1, 3, *half)).astype(np.float32)).to(device)
    grid, half_grid = identity_grid(shape, device), identity_grid(half, device)

    def gradient(function: Callable[..., torch.Tensor], leaf: torch.Tensor) -> Callable[[], None]:
        def run() -> None:
            moving = leaf.detach().requires_grad_(True)
            function(moving).sum().backward()
            wait_for(device)

        return run

    def forward(function: Callable[[], torch.Tensor]) -> Callable[[], None]:
        def run() -> None:
            with torch.no_grad():
                function()
            wait_for(device)

        return run

    return {
        'warp': forward(lambda: warp(image, flow, grid)),
        'warp, with derivative': gradient(lambda u: warp(image, u, grid), flow),
        'scaling and squaring': forward(lambda: integrate(velocity, half_grid)),
        'scaling and squaring, with derivative': gradient(lambda v: integrate(v, half_grid), velocity),
        'NCC': forward(lambda: negative_ncc(image, other)),
        'NCC, with derivative': gradient(lambda w: negative_ncc(image, w), other),
    }
