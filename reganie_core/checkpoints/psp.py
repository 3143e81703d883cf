"""e4e / pSp files: ``{"state_dict", "opts", "latent_avg"}`` with ``encoder.*`` and ``decoder.*``, or a bare encoder.

Our encoders keep the names of these files, so conversion takes the prefix off. ``decoder.*`` is a rosinality generator.
"""

from __future__ import annotations

from typing import Any

import torch

from ..errors import CorruptCheckpointError, UnsupportedCheckpointError
from . import rosinality
from .averages import average_of, for_layers, rows_of
from .parts import Mapped, Part, Tensors, attempt, check_picture, count_up, need, options
from .records import StorageRecord, TensorRecord
from .tables import Place, Table, places, tables

NAME = "psp"
TYPES = ("Encoder4Editing", "GradualStyleEncoder", "SingleStyleCodeEncoder")
SHORT = {"e4e": TYPES[0], "psp": TYPES[1], "psp-w": TYPES[2]}
"""What people call them -> the types."""
_ZERO = TensorRecord(StorageRecord(torch.float32, 0, lambda: memoryview(b"")), 0, (0,), (1,))
# The names of pSp (its learn_in_w files) and HyperStyle (its W encoders) for what e4e's code calls by the other one.
_ALIASES = {"BackboneEncoderUsingLastLayerIntoW": "SingleStyleCodeEncoder", "WEncoder": "SingleStyleCodeEncoder",
            **SHORT}
_RESTYLE_TYPES = ("ProgressiveBackboneEncoder", "ResNetProgressiveBackboneEncoder", "BackboneEncoder",
                  "ResNetBackboneEncoder", "ResNetGradualStyleEncoder")
_TRUNK = ("body.23.res_layer.1.weight", "body.0.res_layer.1.weight", "input_layer.0.weight")


def find(root: Any, encoder_type: str | None = None) -> list[Part]:
    """The encoder, and the generator stored with it, or nothing.

    Args:
        encoder_type: overrides what ``opts`` says; needed for a bare encoder, because e4e and pSp encoders have the
            same tensors and differ in what they compute.
    """
    found = tables(root)
    parts = []
    decoder = decoder_in(found)
    for place in places(found, *_TRUNK):
        if is_encoder(place.tensors):
            parts.append(attempt("encoder", NAME, lambda p=place: _encoder(p, encoder_type, decoder)))
            break
    return parts + ([decoder] if decoder else [])


def decoder_in(found: list[Table]) -> Part | None:
    """The generator that is kept with an encoder, as ``decoder.*``; None without one."""
    for place in places(found, *rosinality.GENERATOR):
        if "decoder" in (*place.table.path, *place.prefix.split(".")):
            return attempt("generator", NAME, lambda p=place: rosinality.generator(p.tensors, average_of(p), NAME))
    return None


def is_encoder(tensors: Tensors) -> bool:
    return "styles.0.linear.weight" in tensors or "linear.weight" in tensors


def _encoder(place: Place, wanted: str | None, decoder: Part | None) -> Part:
    tensors, opts = place.tensors, options(place.entry("opts"))
    channels = need(tensors, "input_layer.0.weight", 4).shape[1]
    if channels == 6:
        raise UnsupportedCheckpointError(
            "This encoder takes 6 channels, as ReStyle's do, but it has not the tensors of one. Get the original file."
        )
    check_picture(channels)
    name = _type(tensors, opts, wanted)
    if name == "SingleStyleCodeEncoder":
        w_dim = need(tensors, "linear.weight", 2).shape[0]
        num_ws = _single_num_ws(average_of(place), opts, decoder, w_dim)
    else:
        w_dim = need(tensors, "styles.0.linear.weight", 2).shape[0]
        num_ws = count_up(tensors, "styles.{}.linear.weight")
    config = {"type": name, "num_ws": num_ws, "w_dim": w_dim, "input_resolution": 256}
    if opts.get("dataset_type") == "cars_encode":
        config["input_height"] = 192  # cars are 4:3; their pictures are padded to 512 x 512 only on the way out
    part = Part("encoder", NAME, config)
    for key, record in tensors.items():
        if key != "latent_avg" and not key.startswith("decoder."):
            part.add(key, record, record.shape)
    latent_avg(part, average_of(place), opts, decoder)
    return part


def _type(tensors: Tensors, opts: dict[str, Any], wanted: str | None) -> str:
    name = wanted or opts.get("encoder_type")
    if name is not None and not isinstance(name, str):
        raise CorruptCheckpointError("The file's encoder_type is not a name. Give encoder_type, or another file.")
    name = None if name is None else _ALIASES.get(name, name)
    if name is None and "styles.0.linear.weight" not in tensors:
        return "SingleStyleCodeEncoder"
    if name in _RESTYLE_TYPES:
        raise UnsupportedCheckpointError(
            f"The file says that its encoder is ReStyle's {name}, but its first layer takes the 3 channels of a "
            "picture and not ReStyle's 6. Give encoder_type, if it says so by mistake, or get the original file."
        )
    if name == "BackboneEncoderUsingLastLayerIntoWPlus":
        raise UnsupportedCheckpointError(
            f"This is a pSp encoder with one linear layer for all codes ({name}), which is not supported. Use an e4e "
            "or another pSp encoder."
        )
    if name is None:
        raise UnsupportedCheckpointError(
            "The file does not say whether its encoder is e4e or pSp, and both have the same tensors. "
            'Give encoder_type="e4e" or "psp" (of convert: --encoder-type e4e).'
        )
    if name not in TYPES:
        raise UnsupportedCheckpointError(f"Encoder type {str(name)[:60]!r} is not known; use {', '.join(TYPES)}.")
    if (name == "SingleStyleCodeEncoder") == ("styles.0.linear.weight" in tensors):
        raise CorruptCheckpointError(f"The file says its encoder is a {name}, but its tensors are of another one.")
    return name


def _single_num_ws(average: Any, opts: dict[str, Any], decoder: Part | None, w_dim: int) -> int:
    """One code is repeated for every layer; how many layers there are must come from elsewhere."""
    size = opts.get("stylegan_size", opts.get("output_size"))
    if average is not None and (rows := rows_of(average, w_dim)) > 1:
        return rows
    if decoder is not None and decoder.problem is None:
        size = decoder.config["resolution"]
    if type(size) is not int or size not in {2**i for i in range(3, 12)}:
        size = 1024  # what every public file of this type is for
    return 2 * (size.bit_length() - 1) - 2


def latent_avg(part: Part, average: Any, opts: dict[str, Any], decoder: Part | None) -> None:
    """Give an encoder's part the start of its codes: from the file, from the file's decoder, or zero."""
    num_ws, w_dim = part.config["num_ws"], part.config["w_dim"]
    if average is not None and opts.get("start_from_latent_avg") is False:
        average = None
        part.notes.append("The encoder's codes do not start from latent_avg (its options say so); it is not added.")
    if average is not None:
        part.tensors["latent_avg"] = for_layers(average, rows_of(average, w_dim), num_ws, w_dim)
    elif opts.get("start_from_latent_avg"):
        if decoder is None or decoder.problem is not None:
            raise CorruptCheckpointError(
                "The encoder's codes start from latent_avg, which is not in the file, and there is no decoder to "
                "compute it from. Use the complete file."
            )
        part.average_from = decoder
        part.notes.append("latent_avg is not in the file; it is the decoder's mean latent (seed 0).")
    else:
        part.tensors["latent_avg"] = Mapped(_ZERO, (num_ws, w_dim), lambda _: torch.zeros(num_ws, w_dim))
        part.notes.append("The options of the file do not ask for latent_avg; zero is used.")
