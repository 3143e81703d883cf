"""Shading: from surface colour, normal and light to the colour that is seen."""

from __future__ import annotations

import torch
from torch import Tensor

from .canvas import Canvas
from .geometry import MISS, Vector, normalise, smoothstep
from .look import Look


def _dot(normal: Vector, direction: Tensor) -> Tensor:
    d = direction[:, :, None, None]
    return torch.addcmul(torch.addcmul(normal[0] * d[:, 0], normal[1], d[:, 1]), normal[2], d[:, 2])


def shade(canvas: Canvas, look: Look) -> Tensor:
    """Soft key light with a warm terminator, sky/ground ambient, highlight and rim; [n,3,side,side] in [0,1].

    Key: wrapped Lambert ((n.l + w) / (1 + w))+. Ambient: hemispheric, a + b n_y. Highlight: Blinn (n.h)^24.
    Rim: (1 - n_z)^3, stronger on the side away from the key light.
    """
    normal = normalise((canvas.normal[0], canvas.normal[1], canvas.normal[2]))
    diffuse = ((_dot(normal, look.light) + 0.35) * (1.0 / 1.35)).clamp_min_(0.0)
    diffuse = diffuse * (0.3 + 0.7 * diffuse)
    half = look.light + torch.tensor([0.0, 0.0, 1.0], device=look.light.device)
    half = half / half.norm(dim=1, keepdim=True)
    s = _dot(normal, half).clamp_min_(0.0)
    s = s * s
    s = s * s
    s = s * s
    highlight = s * s * s * canvas.gloss * 0.6
    facing = (1.0 - normal[2]).clamp(0.0, 1.0)
    side = (0.3 + 0.45 * normal[1] - 0.6 * normal[0] * look.light[:, 0, None, None]).clamp(0.0, 1.0)
    rim = facing * facing * facing * (0.05 + 0.14 * side)
    ambient = 0.39 + 0.10 * normal[1]
    key, sky = (1.02, 1.0, 0.97), (0.95, 0.97, 1.05)
    terminator = smoothstep(0.0, 0.5, diffuse)
    out = []
    for i, cool in enumerate((1.0, 0.90, 0.86)):
        albedo = canvas.rgb[i]
        lit = ambient * sky[i] + (0.76 * key[i]) * diffuse * (cool + (1.0 - cool) * terminator)
        seen = torch.addcmul(highlight * key[i] + rim * (0.4 + albedo), albedo, lit)
        out.append(torch.lerp(albedo, seen, canvas.solid))
    return torch.stack(out, 1).clamp_(0.0, 1.0)


def shade_toon(canvas: Canvas, look: Look) -> Tensor:
    """The out-of-domain style: flat light in three steps, strong colours, dark outlines; [n,3,side,side]."""
    normal = normalise((canvas.normal[0], canvas.normal[1], canvas.normal[2]))
    key = _dot(normal, look.light)
    steps = 0.62 + 0.22 * (key > 0.05) + 0.16 * (key > 0.55)
    rgb = torch.stack(canvas.rgb, 1)
    grey = rgb.mean(1, keepdim=True)
    rgb = (grey + 1.6 * (rgb - grey)).clamp(0.02, 1.0)
    # Posterise the value, keep the hue: flat areas without coloured bands.
    value = rgb.amax(1, keepdim=True)
    rgb = rgb * ((value * 5.0).round().clamp_min(0.5) / 5.0 / value)
    rgb = rgb * torch.lerp(torch.ones_like(steps), steps, canvas.solid)[:, None]
    reach = max(1, canvas.side // 96)
    edge = torch.zeros_like(canvas.depth)
    depth = torch.where(canvas.depth > MISS + 1.0, canvas.depth, -1.0)
    for shift in ((0, reach), (reach, 0)):
        step = (depth - torch.roll(depth, shift, (1, 2))).abs() > 0.09
        turn = sum((a - torch.roll(a, shift, (1, 2))).abs() for a in normal) * canvas.solid > 1.1
        edge = torch.maximum(edge, (step | turn).float())
    edge[:, :reach] = 0.0
    edge[:, :, :reach] = 0.0
    return (rgb * (1.0 - 0.85 * edge[:, None])).clamp(0.0, 1.0)
