"""Measuring networks from files that people have: LPIPS, ArcFace, CurricularFace, HopeNet, DEX.

Their weights belong to other projects. Nothing is ever downloaded here; a missing file is named, with the project it
comes from and the folder it belongs into.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import nn

from ..checkpoints.building import Shapes, check_shapes
from ..checkpoints.ours import check_finite
from ..checkpoints.parts import tensors_of
from ..checkpoints.records import TensorRecord
from ..checkpoints.source import open_source
from ..errors import CorruptCheckpointError, NotFoundError, WrongKindError
from ..paths import is_file

__all__ = ["FILES", "load_arcface", "load_curricularface", "load_dex", "load_hopenet", "load_lpips"]

#: What each network needs: ((file name in a folder, where it comes from), ...).
FILES: dict[str, tuple[tuple[str, str], ...]] = {
    "lpips_vgg": (("vgg16-397923af.pth", "torchvision, the ImageNet weights of vgg16"),
                  ("lpips_vgg.pth", "richzhang/PerceptualSimilarity, lpips/weights/v0.1/vgg.pth")),
    "lpips_alex": (("alexnet-owt-7be5be79.pth", "torchvision, the ImageNet weights of alexnet"),
                   ("lpips_alex.pth", "richzhang/PerceptualSimilarity, lpips/weights/v0.1/alex.pth")),
    "arcface": (("model_ir_se50.pth", "TreB1eN/InsightFace_Pytorch, IR-SE50"),),
    "curricularface": (("CurricularFace_backbone.pth", "HuangYG123/CurricularFace, IR-101"),),
    "hopenet": (("hopenet_robust_alpha1.pkl", "natanielruiz/deep-head-pose"),),
    "dex": (("dex_age_classifier.pth", "yuval-alaluf/SAM, the VGG age classifier"),),
}
Records = dict[str, TensorRecord]


def _find(what: str, path: str | os.PathLike[str]) -> list[Path]:
    """The files of a network: ``path`` itself, or the usual names in the folder ``path``."""
    place = Path(path)
    if is_file(place):
        return [place]
    missing = [(name, origin) for name, origin in FILES[what] if not is_file(place / name)]
    if not missing:
        return [place / name for name, _ in FILES[what]]
    if place.suffix:
        needed = " and ".join(f"{name} ({origin})" for name, origin in FILES[what])
        raise NotFoundError(f"There is no file {place.name} in {place.parent}. {what} is read from {needed}; put it "
                            "there. Nothing is downloaded.")
    listed = "; ".join(f"{name}, from {origin}" for name, origin in missing)
    raise NotFoundError(f"{what} needs files that are not in {place}: {listed}. Get them from these projects and put "
                        "them there under these names. Nothing is downloaded.")


def _tensors(path: Path) -> Records:
    """Every tensor of a checkpoint by name, whatever container; a ``state_dict`` inside is taken out."""
    root = open_source(path).root
    if isinstance(root, Mapping) and isinstance(root.get("state_dict"), Mapping):
        root = root["state_dict"]
    return tensors_of(dict(root) if isinstance(root, Mapping) else root)


def _build(make: Callable[[], nn.Module], records: Mapping[str, TensorRecord], name: str,
           device: torch.device | str) -> nn.Module:
    """Load exactly the network's tensors; others of the file (a classifier) are left unread."""
    with Shapes():  # no memory for weights that are about to be read
        network = make()
    wanted = network.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    used = {key: record for key, record in records.items() if key in wanted}
    if not used:
        raise WrongKindError(f"'{name}' holds no {type(network).__name__}; it begins with the tensors "
                             f"{', '.join(k[:60] for k in list(records)[:3]) or 'none'}.")
    try:
        check_shapes(network, {key: tuple(record.shape) for key, record in used.items()}, counters)
    except CorruptCheckpointError as error:
        raise CorruptCheckpointError(f"'{name}': {error}") from error
    tensors = {key: record.read() for key, record in used.items()}
    check_finite(tensors)
    tensors = {key: value.to(wanted[key].dtype) for key, value in tensors.items()}
    tensors |= {key: torch.zeros((), dtype=torch.int64) for key in counters if key not in tensors}
    filled = {key: tensors[key] for key in wanted}
    network.load_state_dict(filled, assign=True)
    network = network.eval().requires_grad_(False).to(device)
    network.source = name  # type: ignore[assignment]
    return network


@torch.inference_mode(False)
def load_lpips(path: str | os.PathLike[str], net: str | None = None, heads: str | os.PathLike[str] | None = None,
               device: torch.device | str = "cpu") -> nn.Module:
    """LPIPS v0.1 from local files: ``net(a, b)`` of pictures ``[B,3,H,W]`` in [-1,1] -> ``[B]``.

    Args:
        path: a folder with the files of :data:`FILES`, one file with trunk and heads, or the trunk's file.
        net: "vgg" or "alex"; None finds out from a file, and means "vgg" for a folder.
        heads: the heads' file when ``path`` is a trunk (names ``lin0.model.1.weight``, or ``0.1.weight``).

    Raises:
        NotFoundError: a file is missing; the message names it, its project and the folder.
        CheckpointError: what the files hold is something else.
    """
    from ..networks.lpips import LPIPS, LPIPSConfig

    files = _find(f"lpips_{net or 'vgg'}", path)
    if heads is not None:
        files = [files[0], *_find(f"lpips_{net or 'vgg'}", heads)]
    records: Records = {}
    for file in files:
        records |= _tensors(file)
    # Copies of LPIPS inside encoder projects store their heads as "0.1.weight".
    records = {re.sub(r"^(\d)\.1\.weight$", r"lin\1.model.1.weight", key): value for key, value in records.items()}
    first = records.get("features.0.weight")
    if first is None:
        raise WrongKindError(f"'{files[0].name}' holds no LPIPS trunk (features.0.weight is missing).")
    found = "alex" if tuple(first.shape[-2:]) == (11, 11) else "vgg"
    if net not in (None, found):
        raise WrongKindError(f"'{files[0].name}' holds the trunk {found}, not {net}.")
    if "lin0.model.1.weight" not in records:
        name, origin = FILES[f"lpips_{found}"][1]
        raise NotFoundError(f"'{files[0].name}' holds a trunk without the heads of LPIPS: give {name} ({origin}) as "
                            "heads, or a folder with both. Nothing is downloaded.")
    return _build(lambda: LPIPS(LPIPSConfig(found)), records, " + ".join(file.name for file in files), device)


def _load_one(what: str, make: Callable[[], nn.Module], path: str | os.PathLike[str], device: torch.device | str,
              rename: Callable[[str], str] = str) -> nn.Module:
    file = _find(what, path)[0]
    records = {rename(key): value for key, value in _tensors(file).items()}
    return _build(make, records, file.name, device)


@torch.inference_mode(False)
def load_arcface(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """ArcFace IR-SE-50 from ``model_ir_se50.pth`` or its folder: faces -> unit vectors ``[B,512]``.

    Raises as :func:`load_lpips`.
    """
    from ..networks.arcface import ARCFACE, FaceRecognizer

    return _load_one("arcface", lambda: FaceRecognizer(ARCFACE), path, device)


@torch.inference_mode(False)
def load_curricularface(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """CurricularFace IR-101 from its file or folder: faces -> unit vectors ``[B,512]``. Raises as ``load_lpips``."""
    from ..networks.arcface import CURRICULARFACE, FaceRecognizer

    return _load_one("curricularface", lambda: FaceRecognizer(CURRICULARFACE), path, device)


@torch.inference_mode(False)
def load_hopenet(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """HopeNet from its file or folder: faces -> {"yaw", "pitch", "roll"} in degrees. Raises as ``load_lpips``."""
    from ..networks.hopenet import HopeNet, HopeNetConfig

    return _load_one("hopenet", lambda: HopeNet(HopeNetConfig()), path, device)


@torch.inference_mode(False)
def load_dex(path: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """The DEX age classifier from its file or folder: faces -> years ``[B]``. Raises as ``load_lpips``."""
    from ..networks.dex import DexAge, DexAgeConfig

    return _load_one("dex", lambda: DexAge(DexAgeConfig()), path, device, lambda key: key.replace("-", "_"))
