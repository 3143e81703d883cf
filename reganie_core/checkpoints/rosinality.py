"""rosinality's StyleGAN2 (``.pt`` with ``g_ema``, ``g``, ``d``, ``latent_avg``) and everything built on its names.

The maps below are section 2 of the format notes: weights are the same tensors as NVIDIA's, with other names and a
leading axis; nothing is flipped or transposed.
"""

from __future__ import annotations

from typing import Any

import torch

from ..errors import UnsupportedCheckpointError
from .parts import Mapped, Part, Tensors, check_level, count_up, need, tensors_of
from .records import TensorRecord

NAME = "rosinality"


def find(root: Any) -> list[Part]:
    """The generator (averaged weights preferred) and discriminator of a rosinality file, or nothing."""
    if not isinstance(root, dict):
        return []
    parts = []
    average = root.get("latent_avg")
    average = average if isinstance(average, TensorRecord) else None
    for key in ("g_ema", "g"):
        if is_generator(tensors := tensors_of(root.get(key))):
            parts.append(generator(tensors, average))
            break
    else:
        if is_generator(tensors := tensors_of(root)):
            parts.append(generator(tensors, average))
    for tensors in (tensors_of(root.get("d")), tensors_of(root)):
        if is_discriminator(tensors):
            parts.append(discriminator(tensors))
            break
    return parts


def is_generator(tensors: Tensors) -> bool:
    return {"input.input", "conv1.conv.weight", "to_rgb1.conv.weight", "style.1.weight"} <= tensors.keys()


def is_discriminator(tensors: Tensors) -> bool:
    return {"convs.0.0.weight", "final_conv.0.weight", "final_linear.1.weight"} <= tensors.keys()


def generator(tensors: Tensors, average: TensorRecord | None, dialect: str = NAME) -> Part:
    """Sizes from shapes; ``average`` is ``latent_avg`` [w_dim], [1,w_dim] or [num_ws,w_dim], or None."""
    convs = count_up(tensors, "convs.{}.conv.weight")
    level = check_level(convs // 2 + 2)
    first = need(tensors, "style.1.weight", 2)
    w_dim = first.shape[0]
    channels = [need(tensors, "input.input", 4).shape[1]]
    channels += [need(tensors, f"convs.{2 * k + 1}.conv.weight", 5).shape[1] for k in range(level - 2)]
    layers = count_up(tensors, "style.{}.weight", start=1)
    part = Part(
        "generator",
        dialect,
        {
            "type": "Generator",
            "resolution": 2**level,
            "channels": channels,
            "z_dim": first.shape[1],
            "w_dim": w_dim,
            "mapping_layers": layers,
        },
    )
    for i in range(layers):
        part.add(f"mapping.fc{i}.weight", weight := need(tensors, f"style.{i + 1}.weight", 2), weight.shape)
        part.add(f"mapping.fc{i}.bias", bias := need(tensors, f"style.{i + 1}.bias"), bias.shape)
    _average(part, average, w_dim)
    part.add("synthesis.b4.const", need(tensors, "input.input"), (channels[0], 4, 4))
    _layer(part, tensors, "conv1", "synthesis.b4.conv1", channels[0], channels[0], 4, 0)
    _to_rgb(part, tensors, "to_rgb1", "synthesis.b4.torgb", channels[0])
    for k in range(level - 2):
        r, low, high = 8 << k, channels[k], channels[k + 1]
        _layer(part, tensors, f"convs.{2 * k}", f"synthesis.b{r}.conv0", low, high, r, 2 * k + 1)
        _layer(part, tensors, f"convs.{2 * k + 1}", f"synthesis.b{r}.conv1", high, high, r, 2 * k + 2)
        _to_rgb(part, tensors, f"to_rgbs.{k}", f"synthesis.b{r}.torgb", high)
    for name, record in tensors.items():
        if name.endswith(("conv.blur.kernel", "upsample.kernel")):
            part.filters.append((name, record, 4.0))
    return part


def _average(part: Part, average: TensorRecord | None, w_dim: int) -> None:
    name = "mapping.w_avg"
    if average is None:
        part.needs_w_avg = True
        part.notes.append("latent_avg is not in the file; w_avg is the mean of mapped random latents (seed 0).")
    elif average.numel == w_dim:
        part.add(name, average, (w_dim,))
    elif len(average.shape) == 2 and average.shape[1] == w_dim and average.shape[0] > 0:
        # One row per layer. Encoders repeat one row; an encoder trained with its own rows gives their mean.
        part.tensors[name] = Mapped(average, (w_dim,), _one_row)
    else:
        raise UnsupportedCheckpointError(
            f"latent_avg has shape {list(average.shape)}; [{w_dim}] or [layers,{w_dim}] is expected. Get the "
            "original file."
        )


def _one_row(rows: torch.Tensor) -> torch.Tensor:
    return rows[0] if bool((rows == rows[0]).all()) else rows.double().mean(dim=0).float()


def _layer(
    part: Part, tensors: Tensors, theirs: str, ours: str, width_in: int, width_out: int, size: int, noise: int
) -> None:
    w_dim = part.config["w_dim"]
    part.add(f"{ours}.weight", need(tensors, f"{theirs}.conv.weight"), (width_out, width_in, 3, 3))
    part.add(f"{ours}.bias", need(tensors, f"{theirs}.activate.bias"), (width_out,))
    part.add(f"{ours}.affine.weight", need(tensors, f"{theirs}.conv.modulation.weight"), (width_in, w_dim))
    part.add(f"{ours}.affine.bias", need(tensors, f"{theirs}.conv.modulation.bias"), (width_in,))
    if f"{theirs}.noise.weight" in tensors:
        part.add(f"{ours}.noise_strength", tensors[f"{theirs}.noise.weight"], ())
    if f"noises.noise_{noise}" in tensors:
        part.add(f"{ours}.noise_const", tensors[f"noises.noise_{noise}"], (size, size))


def _to_rgb(part: Part, tensors: Tensors, theirs: str, ours: str, width: int) -> None:
    part.add(f"{ours}.weight", need(tensors, f"{theirs}.conv.weight"), (3, width, 1, 1))
    part.add(f"{ours}.bias", need(tensors, f"{theirs}.bias"), (3,))
    part.add(f"{ours}.affine.weight", need(tensors, f"{theirs}.conv.modulation.weight"), (width, part.config["w_dim"]))
    part.add(f"{ours}.affine.bias", need(tensors, f"{theirs}.conv.modulation.bias"), (width,))


def discriminator(tensors: Tensors, dialect: str = NAME) -> Part:
    """Sizes from shapes; the minibatch statistics are rosinality's constants (groups of 4, one channel)."""
    blocks = count_up(tensors, "convs.{}.conv1.0.weight", start=1)
    level = check_level(blocks + 2)
    widths = [need(tensors, "convs.0.0.weight", 4).shape[0]]
    widths += [need(tensors, f"convs.{i}.conv2.1.weight", 4).shape[0] for i in range(1, blocks + 1)]
    channels = widths[::-1]  # from 4 px up
    extra = need(tensors, "final_conv.0.weight", 4).shape[1] - channels[0]
    config = {"type": "Discriminator", "resolution": 2**level, "channels": channels, "mbstd_channels": extra}
    part = Part("discriminator", dialect, config)
    top = f"b{2**level}"
    part.add(f"{top}.fromrgb.weight", tensors["convs.0.0.weight"], (widths[0], 3, 1, 1))
    part.add(f"{top}.fromrgb.bias", need(tensors, "convs.0.1.bias"), (widths[0],))
    for i in range(1, blocks + 1):
        ours, theirs, wide, narrow = f"b{2 ** (level + 1 - i)}", f"convs.{i}", widths[i - 1], widths[i]
        part.add(f"{ours}.conv0.weight", need(tensors, f"{theirs}.conv1.0.weight"), (wide, wide, 3, 3))
        part.add(f"{ours}.conv0.bias", need(tensors, f"{theirs}.conv1.1.bias"), (wide,))
        part.add(f"{ours}.conv1.weight", need(tensors, f"{theirs}.conv2.1.weight"), (narrow, wide, 3, 3))
        part.add(f"{ours}.conv1.bias", need(tensors, f"{theirs}.conv2.2.bias"), (narrow,))
        part.add(f"{ours}.skip.weight", need(tensors, f"{theirs}.skip.1.weight"), (narrow, wide, 1, 1))
    c = channels[0]
    part.add("b4.conv.weight", tensors["final_conv.0.weight"], (c, c + extra, 3, 3))
    part.add("b4.conv.bias", need(tensors, "final_conv.1.bias"), (c,))
    for i, name in enumerate(("fc", "out")):
        part.add(f"b4.{name}.weight", weight := need(tensors, f"final_linear.{i}.weight", 2), weight.shape)
        part.add(f"b4.{name}.bias", bias := need(tensors, f"final_linear.{i}.bias"), bias.shape)
    part.filters += [(name, record, 1.0) for name, record in tensors.items() if name.endswith(".kernel")]
    return part
