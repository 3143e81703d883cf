"""rosinality's StyleGAN2 (``.pt`` with ``g_ema``, ``g``, ``d``, ``latent_avg``) and everything built on its names.

The maps below are section 2 of the format notes: weights are the same tensors as NVIDIA's, with other names and a
leading axis; nothing is flipped or transposed.
"""

from __future__ import annotations

from typing import Any

from ..errors import CheckpointError, UnsupportedCheckpointError
from .averages import average_of, one_row, rows_of
from .parts import Part, Tensors, attempt, check_level, check_picture, count_up, need
from .tables import places, tables

NAME = "rosinality"
GENERATOR = ("input.input", "conv1.conv.weight", "to_rgb1.conv.weight", "style.1.weight")
DISCRIMINATOR = ("convs.0.0.weight", "final_conv.0.weight", "final_linear.1.weight")
# Names under which conversions of NVIDIA's conditional networks keep the layer that embeds a label.
_EMBEDDINGS = ("mapping.embed", "style.embed", "embed")


def find(root: Any) -> list[Part]:
    """The generator (averaged weights preferred) and discriminator of a rosinality file, or nothing."""
    found = tables(root)
    parts = []
    if generators := places(found, *GENERATOR):
        first = generators[0]
        parts.append(attempt("generator", NAME, lambda: generator(first.tensors, average_of(first))))
    if judges := places(found, *DISCRIMINATOR):
        parts.append(attempt("discriminator", NAME, lambda: discriminator(judges[0].tensors)))
    return parts


def is_generator(tensors: Tensors) -> bool:
    return tensors.keys() >= set(GENERATOR)


def generator(tensors: Tensors, average: Any, dialect: str = NAME) -> Part:
    """Sizes from shapes; ``average`` is what the file holds as ``latent_avg`` (see ``averages``), or None."""
    check_picture(need(tensors, "to_rgb1.conv.weight", 5).shape[1], need(tensors, "input.input", 4).shape[2:])
    convs = count_up(tensors, "convs.{}.conv.weight")
    level = check_level(convs // 2 + 2)
    w_dim, width = need(tensors, "style.1.weight", 2).shape
    channels = [need(tensors, "input.input", 4).shape[1]]
    channels += [need(tensors, f"convs.{2 * k + 1}.conv.weight", 5).shape[1] for k in range(level - 2)]
    layers = count_up(tensors, "style.{}.weight", start=1)
    config: dict[str, Any] = {"type": "Generator", "resolution": 2**level, "channels": channels, "z_dim": width,
                              "w_dim": w_dim, "mapping_layers": layers}
    part = Part("generator", dialect, config)
    _classes(part, tensors, width, w_dim)
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


def _classes(part: Part, tensors: Tensors, width: int, w_dim: int) -> None:
    """A conditional network's first layer takes z and an embedded label; here z is as long as w."""
    for name in _EMBEDDINGS:
        if f"{name}.weight" not in tensors:
            continue
        weight, bias = need(tensors, f"{name}.weight", 2), need(tensors, f"{name}.bias", 1)
        part.config |= {"z_dim": width - weight.shape[0], "c_dim": weight.shape[1], "embed_features": weight.shape[0]}
        part.add("mapping.embed.weight", weight, weight.shape)
        part.add("mapping.embed.bias", bias, weight.shape[:1])
        return
    if width > w_dim:
        raise UnsupportedCheckpointError(
            f"The first mapping layer takes {width} numbers where w has {w_dim}: the generator is class-conditional, "
            "and the layer that embeds the class is not in the file. Use the file that this one was converted from."
        )


def _average(part: Part, average: Any, w_dim: int) -> None:
    if average is not None:
        try:
            rows = rows_of(average, w_dim)
        except CheckpointError as error:
            part.cautions.append(f"{error} The mean of mapped random latents (seed 0) takes its place as w_avg.")
        else:
            part.tensors["mapping.w_avg"] = one_row(average, rows, w_dim)
            if rows > 1:  # an encoder trained with rows of its own
                part.notes.append(f"w_avg is one row for all of latent_avg's {rows} (their mean, where they differ).")
            return
    part.needs_w_avg = True
    if average is None:
        part.notes.append("latent_avg is not in the file; w_avg is the mean of mapped random latents (seed 0).")


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
    check_picture(need(tensors, "convs.0.0.weight", 4).shape[1])
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
