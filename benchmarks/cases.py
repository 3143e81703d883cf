"""What is measured: a network with random weights from a fixed seed, and its two paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor

from reganie_core.networks.rectifier import Rectifier, RectifierConfig
from reganie_core.networks.stylegan2 import Generator, GeneratorConfig

from . import textbook

WIDTHS = {4: 512, 8: 512, 16: 512, 32: 512, 64: 512, 128: 256, 256: 128, 512: 64, 1024: 32}  # config-f
CASES = ("generator-256", "generator-512", "generator-1024", "rectifier-A-512")


@dataclasses.dataclass
class Case:
    """A network's two paths; each returns its picture."""

    ours: Callable[[], Tensor]
    textbook: Callable[[], Tensor]


def generator_case(resolution: int, device: str, dtype: torch.dtype) -> Case:
    """Config-f synthesis from W+ codes with constant noise."""
    channels = tuple(width for size, width in WIDTHS.items() if size <= resolution)
    network = Generator(GeneratorConfig(resolution, channels)).eval().requires_grad_(False).to(device)
    network.synthesis.set_precision(dtype, len(channels))
    for block in network.synthesis.blocks:  # nothing may hide behind a zero
        for layer in block.layers:
            layer.bias.data.normal_(std=0.1)
            if hasattr(layer, "noise_strength"):
                layer.noise_strength.data.fill_(0.1)
    ws = torch.randn(1, network.num_ws, network.w_dim, device=device)
    return Case(lambda: network.synthesis(ws), lambda: textbook.synthesis(network, ws))


def rectifier_case(preset: str, device: str, dtype: torch.dtype) -> Case:
    """E_p, E_d and G_p once: what one edited picture costs."""
    network = Rectifier(RectifierConfig.preset(preset)).eval().requires_grad_(False).to(device)
    network.compute_dtype = dtype
    network.G_p.to_rgb.weight.data.normal_()
    edited = (2 * torch.rand(1, 3, 512, 512) - 1).to(device)
    delta = (torch.randn(1, 3, 512, 512) * 0.2).to(device)
    return Case(lambda: network(edited, delta), lambda: textbook.rectify(network, edited, delta))


def make_case(name: str, device: str, dtype: torch.dtype) -> Case:
    """The case of that name with random weights from a fixed seed."""
    torch.manual_seed(0)
    kind, _, rest = name.partition("-")
    if kind == "generator":
        return generator_case(int(rest), device, dtype)
    return rectifier_case(rest.split("-")[0], device, dtype)
