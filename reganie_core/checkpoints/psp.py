"""e4e / pSp files: ``{"state_dict", "opts", "latent_avg"}`` with ``encoder.*`` and ``decoder.*``, or a bare encoder.

Our encoders keep the names of these files, so conversion takes the prefix off. ``decoder.*`` is a rosinality generator.
"""

from __future__ import annotations

from typing import Any

import torch

from ..errors import CheckpointError, CorruptCheckpointError, UnsupportedCheckpointError
from . import rosinality
from .parts import Mapped, Part, Tensors, count_up, need, options, tensors_of
from .records import StorageRecord, TensorRecord

NAME = "psp"
TYPES = ("Encoder4Editing", "GradualStyleEncoder", "SingleStyleCodeEncoder")
_ZERO = TensorRecord(StorageRecord(torch.float32, 0, lambda: memoryview(b"")), 0, (0,), (1,))
# The names of pSp (its learn_in_w files) and HyperStyle (its W encoders) for what e4e's code calls by the other one.
_ALIASES = {"BackboneEncoderUsingLastLayerIntoW": "SingleStyleCodeEncoder", "WEncoder": "SingleStyleCodeEncoder"}
_OTHER_TYPES = {
    "ProgressiveBackboneEncoder": "a ReStyle encoder",
    "ResNetProgressiveBackboneEncoder": "a ReStyle encoder",
    "BackboneEncoder": "a ReStyle encoder",
    "ResNetBackboneEncoder": "a ReStyle encoder",
    "ResNetGradualStyleEncoder": "a ReStyle encoder",
    "BackboneEncoderUsingLastLayerIntoWPlus": "a pSp encoder with one linear layer for all codes",
}


def find(root: Any, encoder_type: str | None = None) -> list[Part]:
    """The encoder, and the generator stored with it, or nothing.

    Args:
        encoder_type: overrides what ``opts`` says; needed for a bare encoder, because e4e and pSp encoders have the
            same tensors and differ in what they compute.
    """
    if not isinstance(root, dict):
        return []
    whole = tensors_of(root.get("state_dict")) or tensors_of(root)
    tensors = tensors_of(whole, "encoder.")
    if not tensors and "output_layer.3.weight" not in whole:
        tensors = whole  # a bare encoder
    parts = []
    average = root.get("latent_avg")
    average = average if isinstance(average, TensorRecord) else None
    opts = options(root.get("opts"))
    decoder = tensors_of(whole, "decoder.")
    generator = None
    if rosinality.is_generator(decoder):
        generator = rosinality.generator(decoder, average, NAME)
    if is_encoder(tensors):
        try:
            parts.append(_encoder(tensors, average, opts, encoder_type, generator))
        except CheckpointError as error:  # the decoder of the same file may be fine
            parts.append(Part("encoder", NAME, {}, problem=error))
    return parts + ([generator] if generator else [])


def is_encoder(tensors: Tensors) -> bool:
    trunk = {"input_layer.0.weight", "body.0.res_layer.1.weight", "body.23.res_layer.1.weight"} <= tensors.keys()
    return trunk and ("styles.0.linear.weight" in tensors or "linear.weight" in tensors)


def _encoder(
    tensors: Tensors, average: TensorRecord | None, opts: dict[str, Any], wanted: str | None, generator: Part | None
) -> Part:
    if need(tensors, "input_layer.0.weight", 4).shape[1] != 3:
        raise UnsupportedCheckpointError(
            "This is a ReStyle encoder (6 input channels), which is not supported yet. Use an e4e or pSp encoder."
        )
    name = _type(tensors, opts, wanted)
    if name == "SingleStyleCodeEncoder":
        w_dim = need(tensors, "linear.weight", 2).shape[0]
        num_ws = _single_num_ws(average, opts, generator, w_dim)
    else:
        w_dim = need(tensors, "styles.0.linear.weight", 2).shape[0]
        num_ws = count_up(tensors, "styles.{}.linear.weight")
    config = {"type": name, "num_ws": num_ws, "w_dim": w_dim, "input_resolution": 256}
    if opts.get("dataset_type") == "cars_encode":
        config["input_height"] = 192  # cars are 4:3; their pictures are padded to 512 x 512 only on the way out
    part = Part("encoder", NAME, config)
    for key, record in tensors.items():
        part.add(key, record, record.shape)
    latent_avg(part, average, opts, generator)
    return part


def _type(tensors: Tensors, opts: dict[str, Any], wanted: str | None) -> str:
    name = wanted or opts.get("encoder_type")
    if name is not None and not isinstance(name, str):
        raise CorruptCheckpointError("The file's encoder_type is not a name. Give encoder_type, or another file.")
    name = _ALIASES.get(name, name)
    if name is None and "styles.0.linear.weight" not in tensors:
        return "SingleStyleCodeEncoder"
    if name in _OTHER_TYPES:
        raise UnsupportedCheckpointError(
            f"This is {_OTHER_TYPES[name]} ({name}), which is not supported yet. Use an e4e or pSp encoder."
        )
    if name is None:
        raise UnsupportedCheckpointError(
            "The file does not say whether its encoder is e4e or pSp, and both have the same tensors. "
            'Give encoder_type="Encoder4Editing" or "GradualStyleEncoder".'
        )
    if name not in TYPES:
        raise UnsupportedCheckpointError(f"Encoder type {str(name)[:60]!r} is not known; use {', '.join(TYPES)}.")
    if (name == "SingleStyleCodeEncoder") == ("styles.0.linear.weight" in tensors):
        raise CorruptCheckpointError(f"The file says its encoder is a {name}, but its tensors are of another one.")
    return name


def _single_num_ws(
    average: TensorRecord | None, opts: dict[str, Any], generator: Part | None, w_dim: int
) -> int:
    """One code is repeated for every layer; how many layers there are must come from elsewhere."""
    size = opts.get("stylegan_size", opts.get("output_size"))
    if average is not None and len(average.shape) == 2 and average.shape[1] == w_dim and average.shape[0] > 1:
        return average.shape[0]
    if generator is not None:
        size = generator.config["resolution"]
    if type(size) is not int or size not in {2**i for i in range(3, 12)}:
        size = 1024  # what every public file of this type is for
    return 2 * (size.bit_length() - 1) - 2


def latent_avg(part: Part, average: TensorRecord | None, opts: dict[str, Any], generator: Part | None) -> None:
    """Give an encoder's part the start of its codes: from the file, from the file's decoder, or zero."""
    num_ws, w_dim = part.config["num_ws"], part.config["w_dim"]
    if average is not None and opts.get("start_from_latent_avg") is False:
        average = None
        part.notes.append("The encoder's codes do not start from latent_avg (its options say so); it is not added.")
    if average is not None and average.numel == w_dim:
        part.tensors["latent_avg"] = Mapped(average, (num_ws, w_dim), lambda row: row.reshape(1, -1).repeat(num_ws, 1))
    elif average is not None:
        part.add("latent_avg", average, (num_ws, w_dim))
    elif opts.get("start_from_latent_avg"):
        if generator is None:
            raise CorruptCheckpointError(
                "The encoder's codes start from latent_avg, which is not in the file, and there is no decoder to "
                "compute it from. Use the complete file."
            )
        part.average_from = generator
        part.notes.append("latent_avg is not in the file; it is the decoder's mean latent (seed 0).")
    else:
        part.tensors["latent_avg"] = Mapped(_ZERO, (num_ws, w_dim), lambda _: torch.zeros(num_ws, w_dim))
        part.notes.append("The options of the file do not ask for latent_avg; zero is used.")


