"""Which dialect is this file? Every one is asked in turn; they look at names, never at the file's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from ..errors import UnsupportedCheckpointError
from . import directions, methods, nvidia, psp, pti, rosinality, styleclip
from .parts import Part
from .records import Record
from .source import Source
from .tables import array_of, tables

MAX_NAMES = 10_000
_ONE_PART = "of which only a part is here. Give the complete file."
_JUDGE = "which edits nothing. Give it to trainer/evaluate.py or trainer/train.py, which compare pictures with it."
# Known files without a network or direction of ours: a tensor's name (or its beginning) -> what it is, what to do.
_KNOWN = {
    "hypernet.": ("a HyperStyle hypernetwork", _ONE_PART),
    "residue.": ("an HFGI model", _ONE_PART),
    "output_layer.3.weight": ("a face recognition network (ArcFace)", _JUDGE),
    "fc_yaw.weight": ("a HopeNet pose network", _JUDGE),
    "fc8-101.weight": ("an age classifier (DEX)", _JUDGE),
    "lin0.model.1.weight": ("LPIPS weights", _JUDGE),
    "conv1.weight": ("a ResNet", "which no loader here reads. Give another file."),
    "features.0.weight": ("a VGG or AlexNet network", _JUDGE),
    "synthesis.b4.": ("part of a StyleGAN2 generator", _ONE_PART),
    "model.diffusion_model.": ("a diffusion model", "which no loader here reads. Give a StyleGAN2 file."),
}


def recognise(source: Source, encoder_type: str | None = None) -> list[Part]:
    """The networks and directions of a file, the main one first; empty where no dialect knows it."""
    root = source.root
    parts = methods.find(root, encoder_type) + styleclip.find(root)
    # A method's own encoder is no e4e or pSp one, and psp would say so.
    parts += [part for part in psp.find(root, encoder_type) if not (parts and part.problem and part.kind == "encoder")]
    for find in (rosinality.find, nvidia.find if not isinstance(root, Record) else pti.find):
        kinds = {part.kind for part in parts}
        parts += [part for part in find(root) if part.kind not in kinds]
    parts = parts or directions.find(root, Path(source.name).stem)
    for part in parts:
        part.file_size = source.size
    return parts


def explain_unknown(source: Source) -> NoReturn:
    """Raise ``UnsupportedCheckpointError`` that says what was found in a file of no known dialect."""
    what, advice = _known(source)
    raise UnsupportedCheckpointError(
        f"This is {what}, {advice} The loaders read StyleGAN2 generators (rosinality .pt, NVIDIA .pkl, PTI), e4e and "
        "pSp encoders, ReStyle, HFGI, HyperStyle, edit directions, and this project's .safetensors."
    )


def described(source: Source) -> str:
    """What a file of no known dialect holds."""
    return _known(source)[0]


def _known(source: Source) -> tuple[str, str]:
    root = source.root
    if isinstance(root, Record):
        return f"a pickled object of class {ascii(root.name[:60])}", "which is not read here. Save its state_dict()."
    if (array := array_of(root)) is not None:
        shape = f"an array of shape {list(array.shape)} ({str(array.dtype).removeprefix('torch.')})"
        return shape, "which is not read here. Give a direction of shape [512], [1,512] or [18,512], in floats."
    names = all_names(root)
    for key, known in _KNOWN.items():
        if any(name == key or (key.endswith(".") and name.startswith(key)) for name in names):
            return known
    unread = "which is not read here. Give another file."
    if not names:
        return f"a {source.container} file without tensors", unread
    return f"a {source.container} file with the tensors {', '.join(ascii(n[:60]) for n in names[:3])} ...", unread


def all_names(root: Any) -> list[str]:
    """Tensor names of the file's tables, the outer ones first."""
    return [name for table in tables(root) for name in table.tensors][:MAX_NAMES]
