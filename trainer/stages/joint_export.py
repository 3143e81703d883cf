"""From what the joint stage trains to a generator and an encoder in W, with a mapping network.

In training every layer has a code of its own. All of them are linear in the encoder's features, so the features can be
w itself: the linear maps move into the layers that read w, and every picture stays as it was. One w for all layers is
what e4e's editability rests on, and it gives the generator a mapping network: w is taken for normally distributed, so
z -> w is linear and can be written down. StyleGAN2's mapping ends in a leaky ReLU; w is moved to where that changes
nothing.
"""

from __future__ import annotations

import dataclasses
import math

import torch
from torch import Tensor

from reganie_core.networks.joint_encoder import JointEncoder
from reganie_core.networks.stylegan2 import Generator

__all__ = ["AWAY", "into_w", "move_codes"]

AWAY = 5.0                   # standard deviations between the mean of w and 0
GAIN = math.sqrt(2.0)        # of the leaky ReLU


@torch.no_grad()
def into_w(generator: Generator, encoder: JointEncoder, features: Tensor) -> tuple[Generator, JointEncoder]:
    """The same pictures and inversions with one code ``w [F]`` for all layers, and a mapping network that draws it.

    ``features [N,F]`` are the encoder's, of training pictures. Distances of w are the mean distances of the codes.
    """
    layers = encoder.num_ws
    heads = encoder.base.weight.double() + encoder.differences.weight.double().unflatten(0, (layers, -1))
    offsets = encoder.base.bias.double() + encoder.differences.bias.double().view(layers, -1) + encoder.latent_avg
    axes, scale = torch.linalg.qr(heads.flatten(0, 1) / math.sqrt(layers))          # w = scale @ features
    axes = math.sqrt(layers) * axes.unflatten(0, (layers, -1))                      # code_i = axes_i @ w + offset_i
    width = len(scale)                           # of w: the features', or all that codes can tell apart
    w = features.double() @ scale.T
    mean = w.mean(0)
    shift = AWAY * w.std(0).clamp_min(1e-4) - mean

    drawn = Generator(dataclasses.replace(generator.config, z_dim=width, w_dim=width, mapping_layers=1,
                                          mapping_lr_multiplier=1.0))
    known = {k: v for k, v in generator.state_dict().items() if not k.startswith("mapping.") and ".affine." not in k}
    drawn.load_state_dict(known, strict=False)
    for affine, before, number in zip(_affines(drawn), _affines(generator), _rows_of_w(generator), strict=True):
        weight = before.weight.double() * before.weight_gain
        affine.weight.copy_(weight @ axes[number] / affine.weight_gain)
        bias = before.bias.double() * before.bias_gain + weight @ (offsets[number] - axes[number] @ shift)
        affine.bias.copy_(bias / affine.bias_gain)
    values, directions = torch.linalg.eigh(torch.cov(w.T))
    layer = drawn.mapping.fc0
    layer.weight.copy_(directions * values.clamp_min(0.0).sqrt() / GAIN / layer.weight_gain)
    layer.bias.copy_((mean + shift) / GAIN / layer.bias_gain)
    drawn.w_avg.copy_(mean + shift)

    found = JointEncoder(dataclasses.replace(encoder.config, w_dim=width))
    trunk = {k: v for k, v in encoder.state_dict().items() if k.startswith(("stem.", "blocks.", "features."))}
    found.load_state_dict(trunk, strict=False)
    found.base.weight.copy_(scale)
    found.base.bias.copy_(-mean)
    found.latent_avg.copy_((mean + shift).expand(layers, -1))
    return drawn.eval(), found.eval()


@torch.no_grad()
def move_codes(generator: Generator, shift: Tensor) -> None:
    """Let every picture stay as it is when ``shift [w_dim]`` is added to its codes. w_avg is left alone."""
    for affine in _affines(generator):
        styles = affine.weight.double() * affine.weight_gain @ shift.double()
        affine.bias -= styles.to(affine.bias) / affine.bias_gain


def _affines(generator: Generator) -> list:
    return [layer.affine for block in generator.synthesis.blocks for layer in block.layers]


def _rows_of_w(generator: Generator) -> list[int]:
    """Which row of ws each layer reads: a block's ToRGB shares its row with the first layer of the next block."""
    rows, first = [], 0
    for block in generator.synthesis.blocks:
        rows += [first + i for i in range(len(block.layers))]
        first += len(block.layers) - 1
    return rows
