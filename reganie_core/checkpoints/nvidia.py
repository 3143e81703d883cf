"""NVIDIA's StyleGAN2 pickles (stylegan2-ada-pytorch, and StyleGAN2 networks of the stylegan3 repository).

Our networks use NVIDIA's names, so the map is the identity; what is read from the pickled modules besides tensors is
the activation clamp, the learning-rate multiplier of the mapping and the minibatch settings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..errors import CorruptCheckpointError, UnsupportedCheckpointError
from .parts import Part, Tensors, attempt, check_level, check_picture, count_up, need
from .records import Record, TensorRecord
from .tables import Table, places, tables
from .tables import modules as modules_of

NAME = "nvidia"
MAX_MODULES = 20_000
MAX_ENTRIES = 50_000
MAX_NAME = 100
MAX_DEPTH = 12  # of modules within modules; together they bound the memory that dotted names take
MAX_SIZES = 24
MAX_NETWORKS = 8  # pickled modules that are looked into
_MAX_GROUP = 4096  # a group size of None means the whole batch
GENERATOR = ("synthesis.b4.conv1.weight", "mapping.fc0.weight")
ALIAS_FREE = ("synthesis.input.freqs", "mapping.fc0.weight")
DISCRIMINATOR = ("b4.conv.weight", "b4.fc.weight", "b4.out.weight")


def find(root: Any, dialect: str = NAME) -> list[Part]:
    """The generator (averaged weights preferred) and discriminator of ``dict(G, D, G_ema, ...)``, or nothing.

    Of pickled modules, or of state dicts, under any names.
    """
    found = tables(root)
    parts = []
    for tensors, modules in _networks(root, found, GENERATOR, ALIAS_FREE):
        if is_generator(tensors) or is_alias_free(tensors, modules):
            parts.append(attempt("generator", dialect, lambda t=tensors, m=modules: generator(t, m, dialect)))
            break
    for tensors, modules in _networks(root, found, DISCRIMINATOR):
        if is_discriminator(tensors):
            parts.append(attempt("discriminator", dialect, lambda t=tensors, m=modules: discriminator(t, m, dialect)))
            break
    return parts


def _networks(
    root: Any, found: list[Table], *signatures: tuple[str, ...]
) -> Iterator[tuple[dict[str, TensorRecord], dict[str, Record]]]:
    """One after another, so that only the wanted one stays in memory."""
    for _, module in modules_of(root)[:MAX_NETWORKS]:
        yield open_network(module)
    for names in signatures:
        for place in places(found, *names):
            yield place.tensors, {}


def open_network(value: Record) -> tuple[dict[str, TensorRecord], dict[str, Record]]:
    """Tensors and modules of a pickled module by their dotted names."""
    tensors: dict[str, TensorRecord] = {}
    modules: dict[str, Record] = {}
    pending = [("", value, 0)]
    entries = 0
    while pending:
        path, module, depth = pending.pop()
        # A module may be listed many times, or inside itself, at no cost to the file.
        entries += sum(len(_table(module, table)) for table in ("_parameters", "_buffers", "_modules"))
        if len(modules) >= MAX_MODULES or entries > MAX_ENTRIES or depth > MAX_DEPTH:
            raise CorruptCheckpointError("The file's modules contain each other without end: do not use it.")
        modules[path] = module
        prefix = path + "." if path else ""
        for table in ("_parameters", "_buffers"):
            for name, tensor in _table(module, table).items():
                if isinstance(tensor, TensorRecord):
                    tensors[f"{prefix}{name}"] = tensor
        for name, child in _table(module, "_modules").items():
            if isinstance(child, Record):
                pending.append((f"{prefix}{name}", child, depth + 1))
    return tensors, modules


def _table(module: Record, name: str) -> dict[str, Any]:
    table = module.state.get(name)
    if not isinstance(table, dict):
        return {}
    if not all(isinstance(key, str) and len(key) <= MAX_NAME for key in table):
        raise CorruptCheckpointError("The file's modules have names that are no names. It is damaged: get it again.")
    return table


def is_alias_free(tensors: Tensors, modules: dict[str, Record]) -> bool:
    """StyleGAN3 networks share the container and the class names, not the architecture."""
    return ALIAS_FREE[0] in tensors or any(m.name in ("SynthesisInput", "AliasFree") for m in modules.values())


def is_generator(tensors: Tensors) -> bool:
    return tensors.keys() >= set(GENERATOR)


def is_discriminator(tensors: Tensors) -> bool:
    return tensors.keys() >= set(DISCRIMINATOR)


def generator(tensors: Tensors, modules: dict[str, Record], dialect: str = NAME) -> Part:
    """Sizes from shapes; clamp and multiplier from the pickled modules where there are any."""
    if is_alias_free(tensors, modules):
        raise UnsupportedCheckpointError(
            "This is an alias-free StyleGAN3 network (config T or R). Only StyleGAN2 networks are supported: "
            "use a stylegan2 file, for example stylegan2-ffhq-1024x1024.pkl."
        )
    tensors = {name: record for name, record in tensors.items() if name.startswith(("mapping.", "synthesis."))}
    if "synthesis.b4.const" not in tensors:
        raise UnsupportedCheckpointError(
            "The generator has no constant 4x4 input; only StyleGAN2 ones are supported. Use another network."
        )
    sizes = [4 << i for i in range(MAX_SIZES) if f"synthesis.b{4 << i}.conv1.weight" in tensors]
    level = check_level(len(sizes) + 1)
    rgb = [f"synthesis.b{4 << i}.torgb.weight" in tensors for i in range(len(sizes))]
    if not all(rgb) or any(name.endswith(".skip.weight") for name in tensors):
        raise UnsupportedCheckpointError(
            "The generator's architecture is not 'skip', which alone is supported. Use another network."
        )
    check_picture(need(tensors, "synthesis.b4.torgb.weight", 4).shape[0],
                  need(tensors, "synthesis.b4.const", 3).shape[1:])
    embed, c_dim = need(tensors, "mapping.embed.weight", 2).shape if "mapping.embed.weight" in tensors else (0, 0)
    w_dim, width = need(tensors, "mapping.fc0.weight", 2).shape
    config = {
        "type": "Generator",
        "resolution": 2**level,
        "channels": [need(tensors, f"synthesis.b{4 << i}.conv1.weight", 4).shape[0] for i in range(len(sizes))],
        "z_dim": width - embed,
        "w_dim": w_dim,
        "c_dim": c_dim,
        "mapping_layers": count_up(tensors, "mapping.fc{}.weight"),
        "mapping_lr_multiplier": _number(modules, "mapping.fc0", "bias_gain", 0.01),
        "embed_features": embed or None,
        "clamp": _number(modules, "synthesis.b4.conv1", "conv_clamp", None),
    }
    part = Part("generator", dialect, config)
    _take(part, tensors)
    if "mapping.w_avg" not in tensors:
        part.needs_w_avg = True
        part.notes.append("w_avg is not in the file; it is the mean of mapped random latents (seed 0).")
    if not modules:
        part.notes.append("A bare state dict does not say whether activations are clamped; no clamp is used.")
    return part


def discriminator(tensors: Tensors, modules: dict[str, Record], dialect: str = NAME) -> Part:
    if any(name.startswith("mapping.") for name in tensors) or need(tensors, "b4.out.weight", 2).shape[0] != 1:
        raise UnsupportedCheckpointError(
            "The discriminator is conditional, which is not supported. Use an unconditional one."
        )
    tensors = {name: record for name, record in tensors.items() if re.match(r"b\d+\.", name)}
    sizes = [8 << i for i in range(MAX_SIZES) if f"b{8 << i}.conv0.weight" in tensors]
    level = check_level(len(sizes) + 2)
    if any(f"b{size}.skip.weight" not in tensors for size in sizes):
        raise UnsupportedCheckpointError(
            "The discriminator's architecture is not 'resnet', which alone is supported. Use another network."
        )
    check_picture(need(tensors, f"b{2**level}.fromrgb.weight", 4).shape[1])
    last = need(tensors, "b4.conv.weight", 4)
    channels = [last.shape[0]] + [need(tensors, f"b{size}.conv0.weight", 4).shape[1] for size in sizes]
    group = _number(modules, "b4.mbstd", "group_size", _MAX_GROUP if "b4.mbstd" in modules else 4)
    config = {
        "type": "Discriminator",
        "resolution": 2**level,
        "channels": channels,
        "mbstd_group": int(min(max(group, 1), _MAX_GROUP)),
        "mbstd_channels": last.shape[1] - last.shape[0],
        "clamp": _number(modules, f"b{2**level}.conv0", "conv_clamp", None),
    }
    part = Part("discriminator", dialect, config)
    _take(part, tensors)
    return part


def _take(part: Part, tensors: Tensors) -> None:
    for name, record in tensors.items():
        if name.endswith("resample_filter"):
            part.filters.append((name, record, 1.0))
        else:
            part.add(name, record, record.shape)


def _number(modules: dict[str, Record], path: str, name: str, default: Any) -> Any:
    value = modules[path].state.get(name) if path in modules else None
    # Comparing is safe for any number, also for integers that no float can hold.
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < 1e9:
        return value
    return default
