"""What the stages use when a domain brings less than the portraits do: a generator, perhaps pictures, nothing else.

Everything chosen here is said aloud, because it is less than the paper's setting: LPIPS weights or an attribute network
make better losses, a trained editor better triplets.
"""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reganie_core.editing import Control, DirectionEditor, Editor, load_editor
from reganie_core.editing.sefa import sefa
from reganie_core.errors import ReganieWarning
from reganie_core.metrics.files import load_arcface, load_lpips

from .frozen import load_attributes, load_identity

SEFA_COUNT = 16


class Distance(Protocol):
    """A perceptual distance [B] of two batches [B,3,R,R] in [-1,1]."""

    def distance(self, a: Tensor, b: Tensor) -> Tensor: ...


class SmallLPIPS:
    """LPIPS of pictures brought to at most `limit` pixels, as the encoders' losses do."""

    def __init__(self, net: nn.Module, limit: int) -> None:
        self.net, self.limit = net, limit

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        if self.limit and a.shape[-1] > self.limit:
            a, b = (F.interpolate(x, (self.limit, self.limit), mode="area") for x in (a, b))
        return self.net(a.float(), b.float())


class Pyramid:
    """L1 over an image pyramid down to 8 px: a stand-in that sees colours and shapes, not what they mean."""

    def distance(self, a: Tensor, b: Tensor) -> Tensor:
        total = a.new_zeros(len(a))
        while a.shape[-1] >= 8:
            total = total + (a - b).abs().mean(dim=(1, 2, 3))
            a, b = F.avg_pool2d(a, 2), F.avg_pool2d(b, 2)
        return total


def left_out(config: Any, name: str) -> bool:
    """Whether a file was not asked for: the option has its default, and nothing is there."""
    value = getattr(config, name)
    default = next(f.default for f in dataclasses.fields(config) if f.name == name)
    paths = value if isinstance(value, tuple) else (value,)
    return value == default and not any(path and Path(path).exists() for path in paths)


def perceptual(config: Any, device: str, dtype: torch.dtype, limit: int = 0) -> Distance:
    """LPIPS where `config.lpips` names its files, else the attribute network, else the pyramid (with a warning).

    Raises NotFoundError for files that were asked for and are not there.
    """
    if config.lpips:
        return SmallLPIPS(load_lpips(config.lpips, device=device), limit)
    if not config.attributes or left_out(config, "attributes"):
        warnings.warn("No perceptual network: the loss compares an image pyramid instead, and details will be softer. "
                      "Give lpips=FOLDER with the LPIPS weights, or attributes=FILE.", ReganieWarning, stacklevel=2)
        return Pyramid()
    return load_attributes(config.attributes, device, dtype)


def identity_network(path: str, device: str, dtype: torch.dtype) -> nn.Module:
    """An identity network of ours, or ArcFace from the file that its project publishes (.pth)."""
    return load_arcface(path, device) if Path(path).suffix in (".pth", ".pt") else load_identity(path, device, dtype)


@torch.inference_mode()
def sefa_editor(G: Any, device: str, count: int = SEFA_COUNT) -> DirectionEditor:
    """Directions found in the generator's weights alone (Shen and Zhou 2021); 1 is one standard deviation of w."""
    count = min(count, G.w_dim)
    directions, _ = sefa(G, count=count)
    w = G.mapping(torch.randn(1024, G.z_dim, generator=torch.Generator().manual_seed(0)).to(device))[:, 0]
    spread = (w.float() @ directions[:, 0].to(w.device).t()).std(dim=0)
    scaled = {f"sefa_{i}": (directions[i].to(w.device) * spread[i]).clone() for i in range(count)}
    editor = DirectionEditor(scaled, [Control(name, minimum=-2.0, maximum=2.0) for name in scaled],
                             fingerprint=f"sefa of {G.fingerprint}")
    return editor.to(device)


def editors(config: Any, G: Any, device: str) -> list[Editor]:
    """The editors of `config.editors`, or directions from the generator's weights (with a warning)."""
    if not config.editors or left_out(config, "editors"):
        warnings.warn(f"No editor: triplets are edited along {SEFA_COUNT} directions from the generator's weights "
                      "(SeFa). Give editors=FILE for the edits that people will make.", ReganieWarning, stacklevel=2)
        return [sefa_editor(G, device)]
    return [load_editor(path, device) for path in config.editors]
