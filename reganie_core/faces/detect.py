"""Which detector is in this file, and where do such files belong?"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from ..checkpoints.loading import is_ours
from ..checkpoints.source import open_source
from ..errors import NotFoundError, UnsupportedCheckpointError
from ..paths import is_file, placed
from .align import Detector
from .others import load_insightface, load_mediapipe
from .own_detector import PACKAGED_DETECTOR, load_own_detector
from .yunet import FILE_HINT, load_yunet

__all__ = ["DETECTOR_SUFFIXES", "find_detector", "list_detectors", "load_detector"]

DETECTOR_SUFFIXES: tuple[str, ...] = (".pth", ".pt", ".safetensors", ".task")
#: Parts of names by which a file in a folder of many is taken for a detector.
_KNOWN = ("yunet", "face_landmarker", "face_detector")


def load_detector(path: str | os.PathLike[str] = PACKAGED_DETECTOR, device: torch.device | str = "cpu") -> Detector:
    """The packaged face detector, or one from a local file; nothing is downloaded.

    ``.pth``, ``.pt`` and ``.safetensors`` hold ours or YuNet for kornia's network, ``.task`` mediapipe's landmarker,
    and a folder ``models/NAME`` with ``.onnx`` files an insightface pack; the last two need their packages.

    Raises:
        NotFoundError: no such file, or a package that is not installed.
        CheckpointError: the file is damaged, unsafe or something else.
    """
    target = Path(path)
    if target.is_dir():
        return load_insightface(target, device)
    suffix = target.suffix.lower()
    if suffix == ".task":
        return load_mediapipe(target)
    if suffix == ".onnx":
        raise UnsupportedCheckpointError(f"{target.name} is an ONNX file, which is not read here. For YuNet give "
                                         f"{FILE_HINT}; for insightface give the folder of the whole pack.")
    if suffix == ".safetensors" and target.is_file() and is_ours(open_source(target)):
        return load_own_detector(target, device)
    return load_yunet(target, device)


def list_detectors(folders: Sequence[str | os.PathLike[str]]) -> list[str]:
    """Relative names of the files in registered folders that are face detectors by their name (\"yunet\", ...)."""
    names = set()
    for root in map(Path, folders):
        for pattern in ("*", "*/*"):
            for path in root.glob(pattern):
                known = any(part in path.name.lower() for part in _KNOWN)
                if known and path.suffix.lower() in DETECTOR_SUFFIXES and is_file(path):
                    names.add(path.relative_to(root).as_posix())
    return sorted(names)


def find_detector(folders: Sequence[str | os.PathLike[str]], name: str = "") -> Path:
    """The file ``name`` inside one of the registered folders; without a name the first that looks like a detector.

    Without a name and without such a file it is the packaged one.

    Raises:
        UnsafePathError: the name leaves the folders.
        NotFoundError: there is none of this name; the message says which file belongs where.
    """
    for candidate in [name] if name else list_detectors(folders)[:1]:
        for root in folders:
            path = placed(root, candidate)
            if is_file(path) or (name and path.is_dir()):
                return path
    if not name:
        return PACKAGED_DETECTOR
    places = " or ".join(str(folder) for folder in folders) or "a folder of models"
    raise NotFoundError(f"There is no face detector {name[:120]!r} in {places}. Put the file there, leave the name out "
                        "for the packaged one, or give the points by hand.")
