"""Files of the compared inversion methods: ReStyle, HFGI, HyperStyle; all built like pSp files around a decoder.

Each gives its own network as the main part. The encoder and decoder in the same file are found by ``psp``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..errors import CorruptCheckpointError, UnsupportedCheckpointError
from . import psp
from .averages import average_of
from .parts import MAX_INDEX, Mapped, Part, Tensors, attempt, count_up, need, options
from .records import TensorRecord
from .tables import Place, below, places, tables

RESTYLE_TYPES = (
    "ProgressiveBackboneEncoder", "BackboneEncoder", "ResNetProgressiveBackboneEncoder", "ResNetBackboneEncoder",
    "GradualStyleEncoder", "ResNetGradualStyleEncoder",
)
_SHARED = ("w1", "b1", "w2", "b2")


def find(root: Any, encoder_type: str | None = None) -> list[Part]:
    """The method's own network, or nothing.

    Args:
        encoder_type: one of ``RESTYLE_TYPES``, or "e4e" or "psp", for ReStyle files that do not say which they hold.
    """
    found = tables(root)
    decoder = psp.decoder_in(found)
    makers: dict[str, tuple[str, Callable[[Place], Part]]] = {
        "hfgi": ("residue.conv_layer1.0.weight", lambda place: _hfgi(place.tensors)),
        "hyperstyle": ("hypernet.conv1.weight", lambda place: _hyperstyle(place, decoder)),
        "restyle": ("styles.0.linear.weight", lambda place: _restyle(place, decoder, encoder_type)),
    }
    for kind, (name, make) in makers.items():
        for place in places(found, name):
            if kind == "restyle" and not _is_restyle(place.tensors):
                continue
            if kind == "hfgi" and "grid_align.conv_layer1.0.weight" not in place.tensors:
                continue
            return [attempt(kind, kind, lambda m=make, p=place: m(p))]
    return []


# --- ReStyle ----------------------------------------------------------------------------------------------------------


def _is_restyle(tensors: Tensors) -> bool:
    first = tensors.get("input_layer.0.weight") or tensors.get("conv1.weight")
    six = first is not None and len(first.shape) == 4 and first.shape[1] == 6
    return six and "styles.0.linear.weight" in tensors


def _restyle(place: Place, decoder: Part | None, wanted: str | None) -> Part:
    tensors, opts, average = place.tensors, options(place.entry("opts")), average_of(place)
    name = _restyle_type(tensors, wanted or opts.get("encoder_type"))
    num_ws = count_up(tensors, "styles.{}.linear.weight")
    w_dim = need(tensors, "styles.0.linear.weight", 2).shape[0]
    config = {"type": name, "num_ws": num_ws, "w_dim": w_dim, "input_resolution": 256}
    if opts.get("dataset_type") == "cars_encode":
        config["input_height"] = 192
    part = Part("restyle", "restyle", config)
    for key, record in tensors.items():
        if key != "latent_avg" and not key.startswith("decoder."):
            part.add(key, record, record.shape)
    if average is None and decoder is not None:
        opts = {**opts, "start_from_latent_avg": True}  # ReStyle has no other start than the mean
    psp.latent_avg(part, average, opts, decoder)
    return part


def _restyle_type(tensors: Tensors, name: Any) -> str:
    resnet, gradual = "conv1.weight" in tensors, "latlayer1.weight" in tensors
    possible = [t for t in RESTYLE_TYPES if t.startswith("ResNet") == resnet and ("Gradual" in t) == gradual]
    if name is None and len(possible) == 1:
        return possible[0]
    if name is None:
        raise UnsupportedCheckpointError(
            "The file does not say whether its ReStyle encoder is built on e4e or on pSp, and both have the same "
            'tensors. Give encoder_type="e4e" or "psp" (of convert: --encoder-type e4e).'
        )
    if name in ("e4e", "psp"):
        name = next(t for t in possible if ("Progressive" in t) == (name == "e4e"))
    if name not in possible:
        raise CorruptCheckpointError(
            f"The file's tensors are of a ReStyle {' or '.join(possible)}, not of the {str(name)[:60]!r} it is said "
            "to hold. Get the original file, or give encoder_type."
        )
    return name


# --- HFGI -------------------------------------------------------------------------------------------------------------


def _hfgi(whole: Tensors) -> Part:
    """Sizes from shapes; the injected layer is the public code's, whatever the generator's size."""
    ours = {key: record for key, record in whole.items() if key.startswith(("residue.", "grid_align."))}
    first = [need(ours, f"{name}.conv_layer1.0.weight", 4).shape[0] for name in ("residue", "grid_align")]
    residue = [need(ours, f"residue.conv_layer{i}.0.res_layer.1.weight", 4).shape[0] for i in (2, 3)]
    align = [need(ours, f"grid_align.conv_layer{i}.0.res_layer.1.weight", 4).shape[0] for i in (2, 3, 4)]
    config = {
        "type": "HFGI", "input_resolution": 256, "layer": "b64.conv0", "feature_resolution": 64,
        "feature_channels": need(ours, "residue.condition_scale3.2.weight", 4).shape[0],
        "channels": [first[0], *residue], "align_channels": [first[1], *align],
    }
    part = Part("hfgi", "hfgi", config)
    for key, record in ours.items():
        part.add(key, record, record.shape)
    return part


# --- HyperStyle -------------------------------------------------------------------------------------------------------


def _hyperstyle(place: Place, decoder: Part | None) -> Part:
    tensors, opts = below(place.tensors, "hypernet."), options(place.entry("opts"))
    if any(".make_kernel_in" in key or ".kernel_linear_in" in key for key in tensors):
        raise UnsupportedCheckpointError(
            "This HyperStyle file has separable heads, a variant that is not supported. Use the ordinary one."
        )
    indices = {key.split(".")[1] for key in tensors if key.startswith("refinement_blocks.")}
    layers = sorted(int(i) for i in indices if i.isascii() and i.isdigit() and len(i) < 3 and int(i) < MAX_INDEX)
    if not layers:
        raise CorruptCheckpointError("The hypernetwork has no heads. The file is incomplete: get the original.")
    trunk, blocks = _trunk(tensors)
    config: dict[str, Any] = {
        "type": "HyperStyle", "channels": _channels(decoder, opts), "layers": layers, "input_resolution": 256,
        "trunk": trunk, "trunk_blocks": blocks, "shared_channels": 0,
    }
    shared = {name: tensors[f"shared_weight_hypernet.{name}"] for name in _SHARED
              if f"shared_weight_hypernet.{name}" in tensors}
    if shared:
        w1 = need(shared, "w1", 2)
        config |= {"hidden": w1.shape[0], "shared_channels": w1.shape[1] // 9}
    for key in ("shared_width", "own_width"):
        heads = [i for i in layers if (f"refinement_blocks.{i}.linear.weight" in tensors) == (key == "shared_width")]
        if heads:
            first = need(tensors, f"refinement_blocks.{heads[0]}.convs.0.weight", 4)
            config[key] = first.shape[0]
    part = Part("hyperstyle", "hyperstyle", config)
    for key, record in tensors.items():
        if ".hypernet." not in key:
            part.add(key, record, record.shape)
    for name, record in shared.items():
        copies = [t for i in layers if (t := tensors.get(f"refinement_blocks.{i}.hypernet.{name}")) is not None]
        part.tensors[f"shared_weight_hypernet.{name}"] = Mapped(record, record.shape, _once(record, copies))
    return part


def _once(record: TensorRecord, copies: list[TensorRecord]) -> Any:
    """The public files list the shared tensors again under every head: the same storage, normally, so that there is
    nothing to read. Copies that a re-save made are read one at a time, compared, and dropped.
    """
    where = (record.offset, record.shape, record.stride)
    real = [c for c in copies if c.storage is not record.storage or (c.offset, c.shape, c.stride) != where]

    def check(tensor: torch.Tensor) -> torch.Tensor:
        for copy in real:
            if copy.shape != record.shape or not torch.equal(copy.read().to(tensor.dtype), tensor):
                raise UnsupportedCheckpointError(
                    "The heads of this hypernetwork do not share one set of weights, as HyperStyle's do. It is "
                    "another network: get the original file."
                )
        return tensor

    return check


def _trunk(tensors: Tensors) -> tuple[list[int], list[int]]:
    """Widths and numbers of blocks of the four stages: a new one starts where there is a projection."""
    count = count_up(tensors, "body.{}.conv1.weight")
    widths = [need(tensors, f"body.{i}.conv1.weight", 4).shape[0] for i in range(count)]
    starts = [0, *(i for i in range(1, count) if f"body.{i}.downsample.0.weight" in tensors), count]
    if len(starts) != 5:
        raise CorruptCheckpointError("The hypernetwork's trunk is no ResNet of four stages. Get the original file.")
    return [widths[i] for i in starts[:-1]], [b - a for a, b in zip(starts, starts[1:], strict=False)]


def _channels(decoder: Part | None, opts: dict[str, Any]) -> list[int]:
    if decoder is not None and decoder.problem is None:
        return decoder.config["channels"]
    size = opts.get("output_size")
    if type(size) is not int or size not in {2**i for i in range(5, 12)}:
        size = 1024
    return [min(512, 32768 >> i) for i in range(2, size.bit_length())]
