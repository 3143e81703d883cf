"""Rows beside ours: other inversion methods, and other rectifiers (ablations)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

import reganie_core as rc
from reganie_core.errors import InputError, NotFoundError
from reganie_core.inversion import (
    METHODS,
    NEEDS_FILE,
    Inversion,
    MethodInverter,
    ProjectionSettings,
    load_inverter,
    make_inverter,
)
from reganie_core.rectification import rectify

from ..frozen import load_attributes

SLOW = ("pti", "w", "w+")  # minutes per picture: measured on a stated subset


@dataclass(frozen=True)
class Method:
    """An inverter under the name of its row; `slow` ones run on a subset."""

    label: str
    inverter: MethodInverter
    slow: bool

    def __call__(self, generator: nn.Module, images: Tensor, batch: int) -> Inversion:
        """Invert pictures at the generator's resolution; optimisation gets its gradients in whatever mode."""
        if not self.slow:
            return self.inverter(generator, images, chunk=batch)
        with torch.inference_mode(False), torch.enable_grad():
            return self.inverter(generator, images.clone(), chunk=1)


def parse_method(text: str, domain: rc.Domain, device: str = "cpu") -> Method:
    """`restyle=FILE`, `hyperstyle=FILE,ENCODER`, `e4e=FILE`, `pti`, `pti:fast`, `w`, `w+:STEPS` -> :class:`Method`.

    HFGI and HyperStyle build on the domain's encoder unless another file is given. Optimisation starts at the domain's
    encoder (PTI's pivot too) and uses the perceptual features of the domain's losses, never those of the evaluation.

    Raises:
        InputError: an unknown method. NotFoundError: a file it needs is not given or not there.
    """
    name, _, file = text.partition("=")
    name, _, setting = name.partition(":")
    if name not in METHODS:
        raise InputError(f"Unknown method {name!r}; there are {', '.join(METHODS)}.")
    if name in NEEDS_FILE or file:
        if not file:
            raise NotFoundError(f"{name} needs a file of its network: --method {name}=FILE.")
        path, _, encoder = file.partition(",")
        inverter = load_inverter(path, device, encoder=encoder or domain.encoder)
        if inverter.method != name:
            raise InputError(f"{path} holds {inverter.method}, not {name}.")
        return Method(name, inverter, False)
    features = domain.folder / "attributes.safetensors" if domain.folder else None
    perceptual = load_attributes(str(features), device).distance if features and features.is_file() else None
    settings: Any = (setting or "published") if name == "pti" else None
    if name in ("w", "w+") and setting:
        if not setting.isdigit():
            raise InputError(f"{name}:{setting[:40]} is not {name}:STEPS, for example {name}:200.")
        settings = ProjectionSettings(steps=int(setting))
    inverter = make_inverter(name, encoder=domain.encoder, perceptual=perceptual, settings=settings)
    return Method(f"{name} ({setting})" if setting else name, inverter.to(device), name in SLOW)


def parse_rectifier(text: str, device: str = "cpu") -> tuple[str, nn.Module]:
    """`LABEL=FILE` -> the row's name and its rectifier."""
    label, sep, file = text.partition("=")
    if not sep or not label or not file:
        raise InputError(f"{text!r} is not LABEL=FILE of a rectifier.")
    return label, rc.load_rectifier(file, device=device)


def repaint(rectifier: nn.Module, edited: Tensor, inversion: Tensor, delta: Tensor, batch: int) -> Tensor:
    """G_p(E_p(Y^), E_d(dX))."""
    return rectify(rectifier, edited, delta, output="rectifier", chunk=batch, inversion=inversion)


def subset(count: int, wanted: int) -> list[int]:
    """`wanted` of `count` pictures, spread evenly over all groups."""
    wanted = min(count, wanted)
    return sorted({int((i + 0.5) * count / wanted) for i in range(wanted)}) if wanted else []


def spread(pictures: Tensor, rows: Sequence[int], count: int) -> Tensor:
    """Pictures of some rows -> [count,...], NaN elsewhere: what was not measured counts for nothing."""
    out = pictures.new_full((count, *pictures.shape[1:]), torch.nan)
    out[list(rows)] = pictures
    return out
