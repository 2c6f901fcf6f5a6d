"""Our own PyTorch version of the four AutoFuse networks, written for tests from their published description.

It stands in for the networks.py that a user of the porting tools has: names, shapes and order of the tensors in
`state_dict()` are the official ones. It needs `import torch`, which the package itself does not depend on.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

CONV_WIDTHS = (1, 2, 2, 4, 4, 4, 2, 2, 1)
CONV_WIDTHS_OF_TRANS = (1, 2, 4, 8, 16, 8, 4, 2, 1)
SWIN_WIDTHS = (1, 2, 4, 8, 4, 2, 1)
WINDOW = 5
INTEGRATION_STEPS = 7


def conv3(inputs: int, outputs: int) -> nn.Conv3d:
    """Return a 3x3x3 convolution that keeps the size."""
    return nn.Conv3d(inputs, outputs, 3, padding=1)


def activate(x: Tensor) -> Tensor:
    """Apply LeakyReLU and then the instance norm, in this unusual order."""
    return F.instance_norm(F.leaky_relu(x, 0.2))


def double_size(x: Tensor) -> Tensor:
    """Upsample by two with the corners aligned."""
    return F.interpolate(x, scale_factor=2, mode='trilinear', align_corners=True)


def warp(volume: Tensor, flow: Tensor) -> Tensor:
    """Sample the volume at x + flow(x), linearly, zero outside."""
    sizes = flow.shape[2:]
    axes = (torch.arange(n, dtype=flow.dtype, device=flow.device) for n in sizes)
    points = flow + torch.stack(torch.meshgrid(*axes, indexing='ij'))
    # grid_sample wants the last axis first and the corners at -1 and 1.
    grid = [2 * points[:, axis] / (sizes[axis] - 1) - 1 for axis in (2, 1, 0)]
    return F.grid_sample(volume, torch.stack(grid, -1), padding_mode='zeros', align_corners=True)


def integrate(velocity: Tensor) -> Tensor:
    """Return the displacement of a stationary velocity field by scaling and squaring."""
    flow = velocity / 2**INTEGRATION_STEPS
    for _ in range(INTEGRATION_STEPS):
        flow = flow + warp(flow, flow)
    return flow


class ConvBlock(nn.Module):
    """Two convolutions."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.Conv_1 = conv3(inputs, outputs)
        self.Conv_2 = conv3(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        return activate(self.Conv_2(activate(self.Conv_1(x))))


class LargeKernel(nn.Module):
    """The efficient large kernel block (ELK)."""

    def __init__(self, width: int):
        super().__init__()
        for n, kernel in enumerate([(3, 3, 3), (5, 1, 1), (1, 5, 1), (1, 1, 5)], 1):
            self.add_module(f'Conv_{n}', nn.Conv3d(width, width // 2, kernel, padding=[k // 2 for k in kernel]))
        self.Conv = nn.Conv3d(2 * width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        parts = [self.get_submodule(f'Conv_{n}')(x) for n in (1, 2, 3, 4)]
        return activate(x + self.Conv(torch.cat(parts, 1)))


class FusionGate(nn.Module):
    """Weighs the fusion branch against the features of the two images, per voxel and channel."""

    def __init__(self, width: int):
        super().__init__()
        self.Conv = conv3(width, width)
        self.Conv_in = nn.Conv3d(2 * width, width, 1)
        self.Conv_con = nn.Conv3d(2 * width, width, 1)
        # The biases keep their random defaults, so that the first gates are near one half and not exactly there.
        nn.init.zeros_(self.Conv_in.weight)
        nn.init.zeros_(self.Conv_con.weight)
        self.ELK = LargeKernel(width)

    def forward(self, x: Tensor, fixed: Tensor, moving: Tensor) -> Tensor:
        images = activate(self.Conv(torch.cat([fixed, moving], 1)))
        both = torch.cat([x, images], 1)
        weights = torch.softmax(torch.stack([self.Conv_in(both), self.Conv_con(both)]), 0)
        return self.ELK(weights[0] * x + weights[1] * images)


class RegistrationHead(nn.Module):
    """Mean and log-variance of the velocity."""

    def __init__(self, width: int):
        super().__init__()
        self.Conv = conv3(width, width)
        self.mean_head = conv3(width, 3)
        self.sigma_head = conv3(width, 3)
        for head, deviation, bias in ((self.mean_head, 1e-5, 0.0), (self.sigma_head, 1e-10, -10.0)):
            nn.init.normal_(head.weight, 0.0, deviation)
            nn.init.constant_(head.bias, bias)

    def forward(self, x: Tensor) -> list[Tensor]:
        x = activate(self.Conv(x))
        return [self.mean_head(x), self.sigma_head(x)]


class Path(nn.Module):
    """What the two kinds of U-Net share; `first` is the number of the first level whose features are exchanged."""

    first: int

    def add_gates(self, widths: Sequence[int]) -> None:
        """Make this the fusion path: a gate for each of seven levels, and the registration head."""
        for n, width in enumerate(widths, self.first):
            self.add_module(f'FG_{n}', FusionGate(width))
        self.reghead = RegistrationHead(widths[-1])

    def gate(self, n: int, x: Tensor, images: Sequence) -> Tensor:
        """Pass the output of level n through its gate where there are features of the images."""
        return self.get_submodule(f'FG_{n}')(x, *images[n - self.first]) if images else x

    def forward(self, x: Tensor, images: Sequence = ()) -> tuple | list:
        """Return the features of an image and its segmentation (or None); given such features, the velocity."""
        outputs = self.features(x, images)
        if images:
            return self.reghead(outputs[-1])
        segmentation = self.seghead(outputs[-1]).softmax(1) if hasattr(self, 'seghead') else None
        return outputs[self.first - 1 :][:7], segmentation


class ConvPath(Path):
    """The convolutional U-Net: eight blocks, and with classes a ninth at full size that segments."""

    first = 2

    def __init__(self, inputs: int, widths: Sequence[int], num_classes: int = 0, fusion: bool = False):
        super().__init__()
        self.number = 9 if num_classes else 8
        joined = (below + skip for below, skip in zip(widths[4:8], reversed(widths[:4]), strict=True))
        inputs_of_blocks = (inputs, *widths[:4], *joined)
        for n in range(1, self.number + 1):
            self.add_module(f'conv_{n}', ConvBlock(inputs_of_blocks[n - 1], widths[n - 1]))
        if num_classes:
            self.seghead = nn.Sequential(OrderedDict(seg_head=nn.Conv3d(widths[8], num_classes, 1)))
        if fusion:
            self.add_gates(widths[1:8])

    def features(self, x: Tensor, images: Sequence) -> list[Tensor]:
        """Return the outputs of all blocks; a gated one replaces its input, in the skip connections too."""
        outputs = []
        for n in range(1, self.number + 1):
            if n > 5:
                x = torch.cat([double_size(x), outputs[9 - n]], 1)
            elif n > 1:
                x = F.avg_pool3d(x, 2)
            x = self.get_submodule(f'conv_{n}')(x)
            x = self.gate(n, x, images) if n > 1 else x
            outputs.append(x)
        return outputs


class WindowAttention(nn.Module):
    """Self-attention among the tokens of one window, with a learnt bias per relative position."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.heads = heads
        self.relative_position_bias_table = nn.Parameter(torch.empty((2 * WINDOW - 1) ** 3, heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        axis = torch.arange(WINDOW)
        places = torch.cartesian_prod(axis, axis, axis)
        steps = places[:, None] - places[None] + WINDOW - 1
        base = 2 * WINDOW - 1
        self.register_buffer('relative_position_index', (steps * torch.tensor([base**2, base, 1])).sum(-1))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """`x` is (batch * windows, tokens, width), `mask` (windows, tokens, tokens)."""
        batch, tokens, width = x.shape
        q, k, v = self.qkv(x).reshape(batch, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        # A smaller window takes the first rows of the index of the full one, as the official networks do, and so not
        # its own geometry.
        index = self.relative_position_index[:tokens, :tokens]
        scores = q * q.shape[-1] ** -0.5 @ k.mT + self.relative_position_bias_table[index].permute(2, 0, 1)
        if mask is not None:
            scores = (scores.unflatten(0, (-1, len(mask))) + mask[:, None]).flatten(0, 1)
        return self.proj((scores.softmax(-1) @ v).transpose(1, 2).reshape(batch, tokens, width))


def split_windows(x: Tensor, window: Sequence[int]) -> Tensor:
    """Cut (B, D, H, W, C) into (B * windows, tokens, C)."""
    counts = [n // w for n, w in zip(x.shape[1:4], window, strict=True)]
    x = x.reshape(len(x), counts[0], window[0], counts[1], window[1], counts[2], window[2], -1)
    return x.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, math.prod(window), x.shape[-1])


def join_windows(x: Tensor, window: Sequence[int], sizes: Sequence[int]) -> Tensor:
    """Undo `split_windows` for a map of these sizes."""
    counts = [n // w for n, w in zip(sizes, window, strict=True)]
    x = x.reshape(-1, *counts, *window, x.shape[-1])
    return x.permute(0, 1, 4, 2, 5, 3, 6, 7).reshape(-1, *sizes, x.shape[-1])


def shift_mask(x: Tensor, window: Sequence[int], shift: Sequence[int]) -> Tensor:
    """Return -100 where two tokens share a window of the rolled map `x` but were not neighbours before, else 0."""
    parts = torch.zeros(1, *x.shape[1:4], 1, device=x.device)
    for axis, (n, w, s) in enumerate(zip(x.shape[1:4], window, shift, strict=True)):
        place = torch.arange(n, device=x.device)
        part = (place >= n - w).int() + (place >= n - s).int() if s else torch.zeros_like(place)
        parts = 3 * parts + part.reshape([-1 if axis + 1 == i else 1 for i in range(5)])
    parts = split_windows(parts, window)
    return -100.0 * (parts != parts.mT).to(x.dtype)


class SwinBlock(nn.Module):
    """Attention in windows, which a shift moves by `shift` voxels, and a perceptron, both with residuals."""

    def __init__(self, width: int, heads: int, shift: int):
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        layers = {'linear1': nn.Linear(width, 4 * width), 'gelu': nn.GELU(), 'linear2': nn.Linear(4 * width, width)}
        self.mlp = nn.Sequential(OrderedDict(layers))

    def attend(self, x: Tensor) -> Tensor:
        """Pad to whole windows, roll, attend, and undo both."""
        sizes = x.shape[1:4]
        window = [min(WINDOW, n) for n in sizes]
        shift = [self.shift if n > WINDOW else 0 for n in sizes]
        pads = [-n % w for n, w in zip(sizes, window, strict=True)]
        x = F.pad(x, (0, 0, 0, pads[2], 0, pads[1], 0, pads[0]))
        padded = x.shape[1:4]
        mask = shift_mask(x, window, shift) if any(shift) else None
        x = split_windows(x.roll([-s for s in shift], (1, 2, 3)), window)
        x = join_windows(self.attn(x, mask), window, padded).roll(shift, (1, 2, 3))
        return x[:, : sizes[0], : sizes[1], : sizes[2]]

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attend(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class SwinStage(nn.Module):
    """Two Swin blocks, the second one shifted."""

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.blocks = nn.Sequential(*(SwinBlock(width, heads, shift) for shift in (0, WINDOW // 2)))

    def forward(self, x: Tensor) -> Tensor:
        return self.blocks(x.movedim(1, -1)).movedim(-1, 1)


class ConvNorm(nn.Module):
    """A convolution under the given name and a layer norm over its channels."""

    def __init__(self, name: str, conv: nn.Module):
        super().__init__()
        self.name = name
        self.add_module(name, conv)
        self.norm = nn.LayerNorm(conv.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.get_submodule(self.name)(x).movedim(1, -1)).movedim(-1, 1)


class SwinPath(Path):
    """The Swin U-Net: seven stages, the first and the last at half size."""

    first = 1

    def __init__(self, inputs: int, widths: Sequence[int], heads: Sequence[int], fusion: bool = False):
        super().__init__()
        self.PatchEmbed = ConvNorm('proj', nn.Conv3d(inputs, widths[0], 2, 2))
        for n in range(7):
            self.add_module(f'trans_{n + 1}', SwinStage(widths[n], heads[n]))
        for n in (1, 2, 3):
            self.add_module(f'downsample_{n}', ConvNorm('down_conv', nn.Conv3d(widths[n - 1], widths[n], 2, 2)))
        for n in (4, 5, 6):
            self.add_module(f'upsample_{n}', ConvNorm('up_conv', nn.ConvTranspose3d(widths[n - 1], widths[n], 2, 2)))
        for n in (5, 6, 7):
            self.add_module(f'backdim_{n}', nn.Conv3d(2 * widths[n - 1], widths[n - 1], 1))
        if fusion:
            self.add_gates(widths)

    def features(self, x: Tensor, images: Sequence) -> list[Tensor]:
        """Return the outputs of all stages; a gated one replaces its input, in the skip connections too."""
        outputs = []
        x = self.PatchEmbed(x)
        for n in range(1, 8):
            if n > 4:
                x = torch.cat([self.get_submodule(f'upsample_{n - 1}')(x), outputs[7 - n]], 1)
                x = self.get_submodule(f'backdim_{n}')(x)
            elif n > 1:
                x = self.get_submodule(f'downsample_{n - 1}')(x)
            x = self.gate(n, self.get_submodule(f'trans_{n}')(x), images)
            outputs.append(x)
        return outputs


def times(base: int, factors: Sequence[int]) -> list[int]:
    """Return the multiples of the base width."""
    return [base * factor for factor in factors]


class Network(nn.Module):
    """Forward pass of all four networks."""

    def forward(self, fixed: Tensor, moving: Tensor) -> tuple:
        """Return the flow, [mean, log-variance] of the velocity, the warped image and any segmentations."""
        images = [fixed, moving]
        # One path with one set of weights sees the fixed image first and then the moving one.
        features, segmentations = zip(*(self.SinglePath(image) for image in images), strict=True)
        segmentations = [s for s in segmentations if s is not None]
        # The most likely class comes in as one number, which stops the gradient.
        labels = [s.argmax(1, keepdim=True).to(s.dtype) / s.shape[1] for s in segmentations]
        mean, log_variance = self.FusionPath(torch.cat(images + labels, 1), list(zip(*features, strict=True)))
        # Drawn in evaluation as well; tests replace torch.randn_like.
        velocity = mean + torch.exp(0.5 * log_variance) * torch.randn_like(mean)
        flow = double_size(2 * integrate(velocity))
        return flow, [mean, log_variance], warp(moving, flow), *segmentations


class AutoFuse(Network):
    """The unsupervised convolutional network."""

    def __init__(self, channel_num: int = 16):
        super().__init__()
        self.SinglePath = ConvPath(1, times(channel_num, CONV_WIDTHS))
        self.FusionPath = ConvPath(2, times(2 * channel_num, CONV_WIDTHS), fusion=True)


class AutoFuseSemi(Network):
    """The semi-supervised convolutional network."""

    def __init__(self, channel_num: int = 16, num_classes: int = 4):
        super().__init__()
        self.SinglePath = ConvPath(1, times(channel_num, CONV_WIDTHS), num_classes)
        self.FusionPath = ConvPath(4, times(2 * channel_num, CONV_WIDTHS), fusion=True)


class AutoFuseTrans(Network):
    """The unsupervised network with Swin blocks in all branches; all have the same numbers of heads."""

    def __init__(self, channel_num: int = 32):
        super().__init__()
        heads = times(channel_num // 8, SWIN_WIDTHS)
        self.SinglePath = SwinPath(1, times(channel_num, SWIN_WIDTHS), heads)
        self.FusionPath = SwinPath(2, times(2 * channel_num, SWIN_WIDTHS), heads, fusion=True)


class AutoFuseTransSemi(Network):
    """The semi-supervised network with Swin blocks in the fusion branch, as it was released."""

    def __init__(self, channel_num: int = 32, num_classes: int = 4):
        super().__init__()
        heads = times(channel_num // 8, SWIN_WIDTHS)
        self.SinglePath = ConvPath(1, times(channel_num // 2, CONV_WIDTHS_OF_TRANS), num_classes)
        self.FusionPath = SwinPath(4, times(2 * channel_num, SWIN_WIDTHS), heads, fusion=True)
