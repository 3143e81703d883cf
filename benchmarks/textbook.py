"""The same networks computed the way the papers write them down, on the same weights.

Modulation scales the weights of every sample (grouped convolution); every FIR is an ``upfirdn``: zero insertion,
padding, one-channel convolution, subsampling; the rectifier's spatial style is interpolated first and projected
afterwards. NCHW, nothing folded, nothing in place. It is what `python -m benchmarks` compares with and checks against.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from reganie_core.networks.encoders import Encoder4Editing
from reganie_core.networks.irse import BottleneckIRSE
from reganie_core.networks.layers import EqualConv2d
from reganie_core.networks.modulation import GlobalModulation, SpatialModulation, UnitConv
from reganie_core.networks.rectifier import DecoderBlock, Rectifier
from reganie_core.networks.rectifier_encoders import PictureEncoder, ResidualDown
from reganie_core.networks.stylegan2 import Generator, SynthesisLayer, ToRGB

SQRT2 = math.sqrt(2.0)


def kernel_of(taps: list[float], gain: float = 1.0) -> Tensor:
    """Separable kernel as a 2-D tensor whose sum is ``gain``."""
    line = torch.tensor(taps)
    kernel = torch.outer(line, line)
    return kernel * (gain / kernel.sum())


FIR, BLUR = kernel_of([1, 3, 3, 1], 4.0), kernel_of([1, 2, 1])


def upfirdn(x: Tensor, kernel: Tensor, up: int = 1, down: int = 1, pad: tuple[int, int] = (0, 0)) -> Tensor:
    """Zero insertion by ``up``, zero padding, correlation with ``kernel``, every ``down``-th pixel."""
    b, c, h, w = x.shape
    x = x.reshape(b * c, 1, h, 1, w, 1)
    x = F.pad(x, (0, up - 1, 0, 0, 0, up - 1)).reshape(b * c, 1, h * up, w * up)
    x = F.conv2d(F.pad(x, (*pad, *pad)), kernel[None, None].to(x))
    x = x[:, :, ::down, ::down]
    return x.reshape(b, c, x.shape[-2], x.shape[-1])


def grouped(x: Tensor, weight: Tensor, up: bool = False) -> Tensor:
    """One weight per sample ``[B,O,I,k,k]`` by a convolution with B groups."""
    b, o, i, k, _ = weight.shape
    x = x.reshape(1, b * i, *x.shape[-2:])
    if up:
        x = F.conv_transpose2d(x, weight.transpose(1, 2).reshape(b * i, o, k, k), stride=2, groups=b)
    else:
        x = F.conv2d(x, weight.reshape(b * o, i, k, k), padding=k // 2, groups=b)
    return x.reshape(b, o, *x.shape[-2:])


def style_layer(layer: SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    """Modulate, demodulate, convolve, filter, noise, bias, activate: one operation a line."""
    weight = layer.weight / math.sqrt(layer.weight[0].numel())
    weight = weight[None] * layer.affine(w)[:, None, :, None, None]
    weight = weight * (weight.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    up = layer.fir is not None
    x = grouped(x, weight, up)
    if up:
        x = upfirdn(x, FIR, pad=(1, 1))
    x = x + layer.noise_const * layer.noise_strength
    return F.leaky_relu(x + layer.bias[:, None, None], 0.2) * SQRT2


def to_rgb(layer: ToRGB, x: Tensor, w: Tensor) -> Tensor:
    """1x1 modulated convolution without demodulation."""
    weight = layer.weight[None] / math.sqrt(layer.weight.shape[1]) * layer.affine(w)[:, None, :, None, None]
    return grouped(x, weight) + layer.bias[:, None, None]


def synthesis(network: Generator, ws: Tensor) -> Tensor:
    """``ws [B,num_ws,w_dim]`` to ``[B,3,R,R]`` with constant noise."""
    rgb, x, index = None, None, 0
    resolution = 4
    while resolution <= network.resolution:
        block = getattr(network.synthesis, f"b{resolution}")
        if x is None:
            x = block.const[None].repeat(ws.shape[0], 1, 1, 1)
        else:
            x = style_layer(block.conv0, x, ws[:, index])
            index += 1
        x = style_layer(block.conv1, x, ws[:, index])
        index += 1
        if rgb is not None:
            rgb = upfirdn(rgb, FIR, up=2, pad=(2, 1))
        picture = to_rgb(block.torgb, x, ws[:, index])
        rgb = picture if rgb is None else rgb + picture
        resolution *= 2
    return rgb


def equalised(conv: EqualConv2d, x: Tensor, gain: float = 1.0) -> Tensor:
    """Equalised convolution, activation, then the gain of a residual sum; gains are not folded."""
    if conv.padding:
        x = F.pad(x, (conv.padding,) * 4, mode="reflect")
    x = F.conv2d(x, conv.weight / math.sqrt(conv.weight[0].numel()), conv.bias, stride=conv.stride)
    return (F.leaky_relu(x, 0.2) * SQRT2 if conv.activation else x) * gain


def down_block(block: ResidualDown, x: Tensor) -> Tensor:
    """(res + skip) / sqrt 2 with blurred subsampling."""
    main = equalised(block.conv1, x)
    main = upfirdn(F.pad(main, (2, 1, 2, 1), mode="reflect"), BLUR)
    skip = upfirdn(F.pad(x, (1, 0, 1, 0), mode="reflect"), BLUR, down=2)
    return (equalised(block.conv2, main) + equalised(block.skip, skip)) / SQRT2


def encode(encoder: PictureEncoder, images: Tensor) -> Tensor:
    """Trunk of E_p and E_d."""
    x = equalised(encoder.from_rgb, images)
    for block in encoder.blocks:
        x = down_block(block, x)
    return x


def spatial(modulation: SpatialModulation, x: Tensor, sp: Tensor) -> Tensor:
    """Interpolate the code to the feature's size, project it there, normalise, multiply."""
    sp = F.interpolate(sp, size=x.shape[-2:], mode="bilinear", align_corners=False)
    style = 1 + F.conv2d(sp, modulation.weight / math.sqrt(sp.shape[1]), modulation.bias)
    return x * (style / (style.square().mean(1, keepdim=True) + 1e-8).sqrt())


def unit_conv(conv: UnitConv, x: Tensor, style: Tensor | None = None) -> Tensor:
    """Statically demodulated convolution whose weight a global style scales per sample."""
    weight = conv.weight / (conv.weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
    if style is None:
        style = weight.new_ones(x.shape[0], weight.shape[1])
    x = grouped(x, weight[None] * style[:, None, :, None, None], conv.fir is not None)
    if conv.fir is not None:
        x = upfirdn(x, FIR, pad=(1, 1))
    return F.leaky_relu(x + conv.bias[:, None, None], 0.2) * SQRT2


def global_style(modulation: GlobalModulation, gl: Tensor) -> Tensor:
    """Per-sample factors ``[B,C]``."""
    affine = modulation.affine
    style = 1 + F.linear(gl, affine.weight / math.sqrt(gl.shape[1]), affine.bias)
    return style / (style.square().mean(1, keepdim=True) + 1e-8).sqrt() if modulation.normalise else style


def up_block(block: DecoderBlock, x: Tensor, sp: Tensor, gl: Tensor) -> Tensor:
    """One SG block: spatial, convolution, global, convolution, residual sum."""
    main = unit_conv(block.conv1, spatial(block.spatial, x, sp))
    main = unit_conv(block.conv2, main, global_style(block.global_, gl))
    skip = x if block.skip is None else equalised(block.skip, x)
    if block.up:
        skip = F.interpolate(skip, scale_factor=2, mode="bilinear", align_corners=False)
    return (main + skip) / SQRT2


def rectify(network: Rectifier, edited: Tensor, delta: Tensor) -> Tensor:
    """E_p, E_d and G_p of a "spatial+global" rectifier, one picture per difference."""
    f_x, top = encode(network.E_p, edited), encode(network.E_d, delta)
    head = network.E_d.sp_head
    sp = equalised(head[1], equalised(head[0], top))
    pooled = top
    for conv in network.E_d.gl_head.convs:
        pooled = equalised(conv, pooled)
    linear = network.E_d.gl_head.linear
    gl = F.linear(pooled.mean((2, 3)), linear.weight / math.sqrt(linear.weight.shape[1]), linear.bias)
    gl = gl / (gl.square().mean(1, keepdim=True) + 1e-8).sqrt()
    x = f_x
    for block in network.G_p.blocks:
        x = up_block(block, x, sp, gl)
    style = global_style(network.G_p.rgb_style, gl)
    rgb = network.G_p.to_rgb
    weight = rgb.weight[None] / math.sqrt(rgb.weight.shape[1]) * style[:, None, :, None, None]
    x = grouped(x, weight) + rgb.bias[:, None, None]
    return edited + x if network.config.output == "residual" else x


def bottleneck(unit: BottleneckIRSE, x: Tensor) -> Tensor:
    """BN, 3x3, PReLU, 3x3 with stride, BN, squeeze and excitation, shortcut: one operation a line."""
    stride = unit.stride
    shortcut = F.max_pool2d(x, 1, stride) if unit.shortcut_layer is None else unit.shortcut_layer(x)
    first, conv1, prelu, conv2, last, gate = unit.res_layer
    x = last(conv2(prelu(conv1(first(x)))))
    weight = torch.sigmoid(gate.fc2(F.relu(gate.fc1(F.adaptive_avg_pool2d(x, 1)))))
    return x * weight + shortcut


def encode_e4e(network: Encoder4Editing, images: Tensor) -> Tensor:
    """Trunk, feature pyramid and one head per style vector, NCHW; pictures of the input size."""
    x, taps = network.input_layer(images.contiguous()), {}
    for i, unit in enumerate(network.body):
        x = bottleneck(unit, x)
        taps[i] = x
    maps = [taps[23]]
    for lateral, finer in ((network.latlayer1, taps[20]), (network.latlayer2, taps[6])):
        coarser = F.interpolate(maps[-1], size=finer.shape[-2:], mode="bilinear", align_corners=True)
        maps.append(coarser + lateral(finer))
    codes = [head(maps[0 if i < 3 else 1 if i < 7 else 2]) for i, head in enumerate(network.styles)]
    rows = [codes[0], *(codes[0] + offset for offset in codes[1:])]
    return torch.stack(rows, 1) + network.latent_avg
