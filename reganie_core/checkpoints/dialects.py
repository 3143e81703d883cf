"""Which dialect is this file? Every one is asked in turn; they look at names, never at the file's name."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NoReturn

from ..errors import UnsupportedCheckpointError
from . import directions, methods, nvidia, psp, pti, rosinality, styleclip
from .parts import Part, tensors_of
from .records import Record
from .source import Source

MAX_NAMES = 10_000
# Known files that are not read: a tensor name (or its beginning) -> what the file is.
_KNOWN = {
    "hypernet.": "a HyperStyle hypernetwork",
    "residue.": "an HFGI model",
    "output_layer.3.weight": "a face recognition network (ArcFace)",
    "fc_yaw.weight": "a HopeNet pose network",
    "lin0.model.1.weight": "LPIPS weights",
    "conv1.weight": "a ResNet",
    "features.0.weight": "a VGG or AlexNet network",
    "synthesis.b4.": "part of a StyleGAN2 generator",
    "model.diffusion_model.": "a diffusion model",
}


def recognise(source: Source, encoder_type: str | None = None) -> list[Part]:
    """The networks and directions of a file, the main one first; empty where no dialect knows it."""
    root = source.root
    parts = methods.find(root, encoder_type) + styleclip.find(root)
    # A method's own encoder is no e4e or pSp one, and psp would say so.
    parts += [part for part in psp.find(root, encoder_type) if not (parts and part.problem)]
    if not any(part.kind == "generator" for part in parts):
        parts += rosinality.find(root)
    parts = parts or nvidia.find(root) or pti.find(root) or directions.find(root, Path(source.name).stem)
    for part in parts:
        part.file_size = source.size
    return parts


def explain_unknown(source: Source) -> NoReturn:
    """Raise ``UnsupportedCheckpointError`` that says what was found in a file of no known dialect."""
    found = described(source)
    raise UnsupportedCheckpointError(
        f"This is {found}, which is not read here. Give a StyleGAN2 generator (rosinality .pt, NVIDIA .pkl, PTI), "
        "an e4e or pSp encoder, ReStyle, HFGI or HyperStyle, edit directions, or this project's .safetensors."
    )


def described(source: Source) -> str:
    root = source.root
    if isinstance(root, Record):
        return f"a pickled object of class {ascii(root.name[:60])}"
    names = all_names(root)
    for key, what in _KNOWN.items():
        if any(name == key or (key.endswith(".") and name.startswith(key)) for name in names):
            return what
    if not names:
        return f"a {source.container} file without tensors"
    return f"a {source.container} file with the tensors {', '.join(ascii(n[:60]) for n in names[:3])} ..."


def all_names(root: Any) -> list[str]:
    """Tensor names of the file's outer tables."""
    if not isinstance(root, dict):
        return []
    names = list(tensors_of(root))
    for value in list(root.values())[:50]:
        if len(names) > MAX_NAMES:
            break
        names += list(tensors_of(value))
    return names[:MAX_NAMES]
